"""The program agent-llm: from its standard input through a provider to its output.

May import: process, messages, schema.
"""
