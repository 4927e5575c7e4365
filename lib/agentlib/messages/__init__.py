"""What passes in the pipes: requests, messages, transcripts, material, and JSON Schema.

May import: the ground floor.
"""
