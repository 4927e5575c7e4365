"""The sandbox of a tool: what it sees (mounts), what it may do (seccomp, limits), what it leaves.

May import: the ground floor.
"""
