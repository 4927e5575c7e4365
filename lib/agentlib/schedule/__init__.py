"""The programs agent-every and agent-schedule.

May import: process.
"""
