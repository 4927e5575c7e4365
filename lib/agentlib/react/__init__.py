"""The program agent-react: the loop of reasoning, acting and observing.

May import: process, messages, invoke, policy, plugin, sandbox.
"""
