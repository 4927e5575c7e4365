"""The one question, --agent-schema: whom to ask, in which sandbox, the cache of answers; the registry; whose a name is.

May import: the flat modules, launch, messages, process, sandbox, sandbox.kept.
"""
