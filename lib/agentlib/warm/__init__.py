"""A JSON-lines filter kept warm behind a socket of the user.

May import: the ground floor, process.
"""
