"""--agent-schema: which programs are asked, in which sandbox, the cache of answers; the registry; who owns a name.

May import: the ground floor, launch, messages, process, sandbox, sandbox.kept.
"""
