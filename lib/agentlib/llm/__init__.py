"""The program agent-llm: from its standard input through a provider to its output.

May import: the ground floor, process, messages, schema, warm.
"""
