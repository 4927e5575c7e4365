"""The program agent-memory: its commands, and the stores in SQLite and PostgreSQL.

May import: the flat modules, plugin, search.
"""
