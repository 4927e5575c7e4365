"""The program agent-discover: candidates, the registry, finding, checking.

May import: the flat modules, schema, search.
"""
