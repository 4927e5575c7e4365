"""Sandboxes that are kept between calls: a fork server inside one bubblewrap starts each call.

May import: the ground floor, process, sandbox.
"""
