"""Garbage collection of long-running processes."""

import gc

THRESHOLD = 10_000  # new containers (net) before Python collects the youngest generation; by default 700


def exempt_loaded_code() -> None:
    """Exempt all objects that exist now from garbage collection, and collect new ones less often.

    After the imports, some 300,000 objects are code, which never becomes garbage. A collection that visits them takes
    0.1 to 0.2 s, in the middle of a request or of the claim of a trial. Reference counting frees what requests and
    trials create, except for rare cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
