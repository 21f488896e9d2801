"""Measure the machine: cores, load, memory, disk, and GPUs by `nvidia-smi`. Reads /proc; standard library only."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SMI = ("name", "utilization.gpu", "memory.used", "memory.total")
SMI_TIMEOUT_S = 5.0
MOST_GPUS = 64
FULL_BYTES, FULL_SHARE = 256 << 20, 0.1  # of free disk space; below it, no trials start


class Machine:
    """Measure this machine and the disk of `folder`. CPU use is the average since the previous measurement."""

    def __init__(self, proc: Path = Path("/proc"), *, folder: Path | None = None) -> None:
        self.proc, self.folder = proc, folder
        self._before: tuple[int, int] | None = None
        self._smi = shutil.which("nvidia-smi")

    def measure(self) -> dict:
        """Return `cores`, `cpu` (0 to 1), `load` (1 minute), `memory_used` and `memory` (bytes), `disk_free` and `disk`
        (bytes), `gpus` (each `name`, `use` 0 to 1, `memory_used`, `memory`). Values that cannot be read are omitted."""
        measured = {**self._cpu(), **self._load(), **self._memory(), **self._disk(), **self._gpus()}
        return {"cores": os.cpu_count() or 1, **measured}

    def _cpu(self) -> dict:
        try:
            first = (self.proc / "stat").read_text().splitlines()[0].split()[1:]
            ticks = [int(field) for field in first[:8]]  # the later fields are included in the first two
        except (OSError, IndexError, ValueError):
            return {}
        idle, total = ticks[3] + (ticks[4] if len(ticks) > 4 else 0), sum(ticks)
        before, self._before = self._before, (idle, total)
        if before is None or total <= before[1]:
            return {}
        return {"cpu": round(1 - (idle - before[0]) / (total - before[1]), 3)}

    def _load(self) -> dict:
        try:
            return {"load": round(os.getloadavg()[0], 2)}
        except OSError:
            return {}

    def _memory(self) -> dict:
        try:
            lines = (line.split() for line in (self.proc / "meminfo").read_text().splitlines())
            kib = {line[0].rstrip(":"): int(line[1]) for line in lines if len(line) > 1}
            total = kib["MemTotal"] * 1024
            return {"memory_used": total - kib["MemAvailable"] * 1024, "memory": total}
        except (OSError, KeyError, ValueError):
            return {}

    def _disk(self) -> dict:
        return disk_of(self.folder) if self.folder else {}

    def _gpus(self) -> dict:
        if not self._smi:
            return {}
        command = [self._smi, f"--query-gpu={','.join(SMI)}", "--format=csv,noheader,nounits"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SMI_TIMEOUT_S, check=True)
        except (OSError, subprocess.SubprocessError):
            return {}
        gpus = [gpu for line in done.stdout.splitlines()[:MOST_GPUS] if (gpu := _gpu(line))]
        return {"gpus": gpus} if gpus else {}


def disk_of(folder: Path) -> dict[str, int]:
    """Return `disk_free` and `disk`, the bytes of the file system of a folder. Empty when they cannot be read."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return {}
    return {"disk_free": usage.free, "disk": usage.total}


def full_disk_percent(measured: Mapping[str, Any]) -> int | None:
    """Return the used share of the disk in percent if it is too full to start trials: less than 256 MiB free, or less
    than a tenth of a small disk. The rest is reserved for the results of running trials. None if there is space, or
    nothing was measured.
    """
    free, total = measured.get("disk_free"), measured.get("disk")
    if free is None or not total or free >= min(FULL_BYTES, FULL_SHARE * total):
        return None
    return min(100, math.floor(100 * (total - free) / total))


def _gpu(line: str) -> dict | None:
    """Parse a line of nvidia-smi's CSV: `NVIDIA A100, 92, 40960, 81920`; memory in MiB, `[N/A]` if unknown."""
    gpu_fields = [part.strip() for part in line.rsplit(",", 3)]
    if len(gpu_fields) != 4 or not gpu_fields[0]:
        return None
    gpu: dict = {"name": gpu_fields[0][:100]}
    for name, text, factor in (
        ("use", gpu_fields[1], 0.01),
        ("memory_used", gpu_fields[2], 1 << 20),
        ("memory", gpu_fields[3], 1 << 20),
    ):
        if text.isdecimal():
            gpu[name] = round(int(text) * factor, 2)
    return gpu
