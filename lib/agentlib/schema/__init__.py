"""--agent-schema: which programs are asked, in which sandbox, the cache of answers; the registry; who owns a name.

May import: the flat modules, launch, messages, process, sandbox, sandbox.kept.
"""
