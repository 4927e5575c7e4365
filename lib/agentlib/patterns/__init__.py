"""The programs agent-plan, agent-execute, agent-reflect and agent-vote.

May import: process, messages, invoke, policy, sandbox.
"""
