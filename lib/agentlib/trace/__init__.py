"""What the formats of agent-trace share: the records of runs as trees, and the words for them.

May import: the ground floor, messages.
"""
