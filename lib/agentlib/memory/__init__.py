"""The program agent-memory: its commands, and the store in SQLite or PostgreSQL.

May import: the flat modules, plugin, search.
"""
