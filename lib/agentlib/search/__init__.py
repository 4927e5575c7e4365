"""Rank texts by words and by meaning.

May import: the flat modules, process, messages.
"""
