"""The one question, --agent-schema: whom to ask, in which sandbox, and the cache of answers.

May import: process, sandbox.
"""
