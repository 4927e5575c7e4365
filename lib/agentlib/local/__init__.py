"""Models on this machine: their files, the engine, the prompt and the answer.

May import: the flat modules, messages, net, search.
"""
