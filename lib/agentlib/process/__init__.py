"""Child processes: run one to its end, keep one up as a coprocess, read a command's text.

May import: the ground floor.
"""
