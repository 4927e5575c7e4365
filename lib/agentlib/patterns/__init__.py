"""What the programs agent-plan, agent-execute, agent-reflect, agent-vote and agent-eval share.

May import: the flat modules, messages, process.
"""
