"""Who may run: the user's flags, the policy file, and the question on the terminal.

May import: the flat modules, launch, sandbox, sandbox.kept.
"""
