"""The program agent-react: the loop of reasoning, acting and observing.

May import: the flat modules, invoke, launch, messages, plugin, policy, process, schema.
"""
