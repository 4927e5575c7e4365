"""The programs agent-every and agent-schedule.

May import: the flat modules, launch, process.
"""
