"""What two or more programs of agentutils share: one dull module a concern."""

__version__ = "0.1.0"
