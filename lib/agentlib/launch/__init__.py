"""The one door to programs that are not the suite's own machinery, and the user's own commands through it.

May import: the ground floor, process, sandbox.
"""
