"""Keep other processes of the same user from reading this process."""

import ctypes

PR_SET_DUMPABLE = 4


def hide_process() -> None:
    """Close /proc/<pid>/environ and the memory of this process to other processes of its user, such as trials: it knows
    the database's password and the secret key. What it starts is not affected."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
