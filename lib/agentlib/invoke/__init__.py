"""Call a tool: find it in the set, check its arguments, run it in the sandbox, cut its output.

May import: the ground floor, launch, mcp, messages, policy, process, sandbox, sandbox.kept, schema.
"""
