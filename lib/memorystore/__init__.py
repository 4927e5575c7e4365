"""The store of agent-memory, in SQLite or PostgreSQL, and its vectors.

May import: the ground floor, search.
"""
