"""What the programs agent-discover and find_agent share, and how programs on PATH are described.

May import: the flat modules, process, schema, search.
"""
