"""MCP, as a client: a connection to one server, what its results become, and its questions to a person.

May import: the ground floor, messages, policy, process, schema.
"""
