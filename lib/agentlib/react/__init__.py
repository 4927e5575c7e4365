"""The program agent-react: the loop of reasoning, acting and observing.

May import: the flat modules, invoke, messages, plugin, process, schema.
"""
