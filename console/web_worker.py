"""Make the worker processes of granian end when they are stopped while they load the console, and with their parent."""

import ctypes
import multiprocessing
import os
import select
import signal
import threading
import time

PR_SET_PDEATHSIG = 1
GRACE_S = 10.0  # for requests that are being answered when the server is killed


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
        threading.Thread(
            target=_end_after, args=[parent.pid], name="end with the server", daemon=True
        ).start()


def _end_after(server: int) -> None:
    """Kill this worker some time after its server has ended: granian loses a SIGTERM that arrives in the milliseconds
    between setting its handlers and serving."""
    try:
        select.select([os.pidfd_open(server)], [], [])
    except ProcessLookupError:
        pass  # it has just ended
    except (AttributeError, OSError):
        return  # this system has no descriptors of processes
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)
