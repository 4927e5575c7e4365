"""The one question, --agent-schema: whom to ask, in which sandbox, and the cache of answers.

May import: the flat modules, sandbox.
"""
