"""The program agent-react: the loop of reasoning, acting and observing.

May import: the ground floor, invoke, messages, plugin, process, schema.
"""
