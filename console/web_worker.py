"""Make the worker processes of granian end when they are stopped while they load the console, and with their parent."""

import ctypes
import multiprocessing
import os
import signal

PR_SET_PDEATHSIG = 1


def end_with_the_server() -> None:
    """Call this in a worker, before anything slow.

    Granian forks its workers, which inherit its signal handlers until they serve: a SIGTERM in the seconds before that
    would only set a flag that nobody reads, and granian would wait for a worker that serves on. And a worker whose
    parent was killed would keep serving, with the old code, on the port that its successor needs.
    """
    parent = multiprocessing.parent_process()
    if parent is None:  # not a worker
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):  # Linux
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent.pid:  # it ended before that
            raise SystemExit("The web server ended while this worker started.")
