"""The programs agent-plan, agent-execute, agent-reflect and agent-vote.

May import: the flat modules, invoke, launch, messages, policy, process.
"""
