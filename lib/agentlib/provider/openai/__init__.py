"""The dialect of OpenAI, which many vendors speak: chat completions, Responses, embeddings.

May import: the ground floor, messages, provider.
"""
