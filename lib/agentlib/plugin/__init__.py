"""Plugins: the host that runs their hooks, and what a plugin in Python starts with.

May import: the ground floor, launch, process, schema.
"""
