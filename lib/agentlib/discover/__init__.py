"""What the programs agent-discover and find_agent share: where executables lie, and which fits a request.

May import: the ground floor, schema, search.
"""
