"""What the programs agent-plan, agent-execute, agent-reflect, agent-vote, agent-eval and agent-trace share.

May import: the ground floor, messages, process.
"""
