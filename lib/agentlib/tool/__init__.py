"""What a tool in Python is written with: arguments, files, walks, pages, arithmetic.

May import: the flat modules, net.
"""
