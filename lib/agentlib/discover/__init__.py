"""The program agent-discover: candidates, finding, checking.

May import: the flat modules, messages, schema, search.
"""
