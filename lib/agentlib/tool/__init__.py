"""What a tool in Python is written with: arguments, files, walks, the text of pages.

May import: the ground floor.
"""
