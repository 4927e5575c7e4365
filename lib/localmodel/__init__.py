"""The models that run on this machine: their files, the prompt and what an answer means.

May import: the ground floor, messages, net, search.
"""
