"""What a provider in Python is written with: the worker, HTTP, event streams, prices.

May import: the ground floor, messages, net.
"""
