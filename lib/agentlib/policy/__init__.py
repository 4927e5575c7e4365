"""Who may run: the user's flags, the policy file, and the question on the terminal.

May import: the ground floor, launch, sandbox, sandbox.kept.
"""
