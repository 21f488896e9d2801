"""The arithmetic of a worker's lease, which prevents a trial from running twice at the same time.

A worker counts as lost one lease after its last heartbeat at the earliest; then its trials may start on other workers.
So by then none of their processes may be running, even if the worker process hangs:

    END_SHARE * lease    after the start of the last good heartbeat, the keeper begins to end all trials,
    + grace_s(lease)     which is how long they may save their work after SIGTERM,
    + KILL_S             which SIGKILL and the last look take,
    <= lease             when the first other worker may claim them.
"""

import time

END_SHARE = 0.75
KILL_S = 0.75
# The longest grace period: `up` must end everything within 5 s, even on a busy machine.
SHUTDOWN_GRACE_S = 2.5
MIN_LEASE_S = 4  # leaves a grace period of a quarter of a second


def now() -> float:
    """Return CLOCK_BOOTTIME in seconds: all processes of a machine share it, and it also advances while the machine
    sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def ends_after_s(lease_s: float) -> float:
    """Return the seconds from the start of a worker's last successful heartbeat to the SIGTERM for its trials."""
    return END_SHARE * lease_s


def grace_s(lease_s: float) -> float:
    """Return the seconds that the lease leaves between SIGTERM and SIGKILL."""
    return max(0.0, min(SHUTDOWN_GRACE_S, lease_s - ends_after_s(lease_s) - KILL_S))
