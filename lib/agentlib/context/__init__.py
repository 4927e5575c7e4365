"""The program agent-context: files, folders, diffs and skills as records.

May import: the flat modules, messages, tool.
"""
