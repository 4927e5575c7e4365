"""Rank texts by words and by meaning.

May import: the ground floor, process, messages.
"""
