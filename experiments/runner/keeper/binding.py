"""Binding of a process to the keeper: the kernel kills it when the keeper ends, even by SIGKILL.

The process inherits the reading end of a pipe of which only the keeper has the writing end. When that closes, Linux
sends the signal of F_SETSIG to the process that F_SETOWN names. Nothing needs to run in the process before its program:
PR_SET_PDEATHSIG would take a Python function there, for which the keeper's memory is copied, or another program that
is executed first. Both take longer than starting a shell.

A process that closes all its descriptors, or whose program runs as another user, is no longer bound; if its worker is
gone as well, the sweep of the next one ends it. The same goes for a keeper that is killed within the microseconds
before `bind`.
"""

import fcntl
import os
import signal

FIRST = 150  # number of the descriptor in the process: scripts use lower ones, and 200, for their own files


class Binding:
    """A pipe that ends with the keeper. The process inherits `descriptor`."""

    def __init__(self) -> None:
        read_end, self._write_end = os.pipe()
        try:
            self.descriptor = fcntl.fcntl(read_end, fcntl.F_DUPFD_CLOEXEC, FIRST)
        except OSError:
            os.close(self._write_end)
            raise
        finally:
            os.close(read_end)

    def bind(self, pid: int) -> None:
        """Have the process killed when this process ends, or closes the binding. Raise OSError."""
        fcntl.fcntl(self.descriptor, fcntl.F_SETOWN, pid)
        fcntl.fcntl(self.descriptor, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(self.descriptor, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
        os.close(self.descriptor)
        self.descriptor = -1

    def close(self) -> None:
        """Close the pipe, once."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        os.close(self._write_end)
