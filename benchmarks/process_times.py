"""The CPU time of Trialdeck's own processes, so that other load on the machine does not distort the cost of a trial."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from experiments.runner.keeper import PROGRAM
from experiments.runner.keeper.processes import children_of, command_line

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def processor_times(pids: Mapping[str, int]) -> dict[str, float]:
    """Return the CPU time in seconds of these processes, by the same names, and that of the keepers below them as
    `keeper`. It excludes the trials' own processes."""
    times = {name: _seconds(pid) for name, pid in pids.items()}
    times["keeper"] = sum(_seconds(pid) for parent in pids.values() for pid in _keepers_of(parent))
    return times


def _seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S  # user and system


def _keepers_of(parent: int) -> list[int]:
    return [pid for pid in children_of(parent) if PROGRAM in command_line(pid)]
