"""The models on this machine: their files, the engine, the prompt, and the answer.

May import: messages, provider, search, warm.
"""
