"""What two or more programs of agentutils share: one dull module a concern."""

import gc

__version__ = "0.1.0"

# modules make many objects and little garbage: 1.5 ms of 20 at every start
gc.set_threshold(50_000)
