"""Rooms whose functions have the names of their modules (`streams.csv`, `run.durable`) are imported here, by Python.

Were pytest the first to import such a module, for its doctests, it would put the module where the function is.
"""

import retain.run
import retain.streams  # noqa: F401
