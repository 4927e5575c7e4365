"""The program agent-discover: candidates, the registry, finding, checking.

May import: process, schema, search.
"""
