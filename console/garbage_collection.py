"""Garbage collection of long-running processes."""

import gc

THRESHOLD = 10_000  # new objects in containers before Python looks for garbage among them; by default 700


def exempt_loaded_code() -> None:
    """Exempt all objects that exist now from garbage collection, and look at new ones less often.

    After the imports, these are some 300,000 objects of code, which never become garbage. A collection that visits them
    takes 0.1 to 0.2 s, in the middle of a request or of the claim of a trial. What requests and trials create goes
    without a collection, except for rare cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(THRESHOLD)
