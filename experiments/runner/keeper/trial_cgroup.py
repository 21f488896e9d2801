"""A trial's control group: whether its memory ran out, and its removal."""

import os
import re
from pathlib import Path

LIMIT_SLACK = 1 << 20  # bytes below its limit at which a control group counts as full


def out_of_memory(cgroup: str) -> str:
    """Return why the OOM killer killed a process of this control group: "limit" (the group's own), "machine" (no memory
    left), or "" if it did not."""
    if read_counter(f"{cgroup}/memory.events", r"^oom_kill (\d+)$"):  # version 2
        return "limit" if read_counter(f"{cgroup}/memory.events", r"^oom (\d+)$") else "machine"
    if read_counter(
        f"{cgroup}/memory.oom_control", r"^oom_kill (\d+)$"
    ):  # version 1, where failcnt may stay 0
        used, limit = (
            read_counter(f"{cgroup}/memory.{name}_in_bytes", r"^(\d+)$") for name in ("max_usage", "limit")
        )
        return "limit" if used + LIMIT_SLACK >= limit else "machine"
    return ""


def read_counter(path: str, pattern: str) -> int:
    try:
        match = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0


def remove_cgroup(path: str) -> bool:
    """Remove a control group and its child groups. Return False while there is a process in it."""
    for folder, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(folder)  # noqa: PTH106  rmdir removes a control group despite its (virtual) files
        except OSError:
            pass  # busy, or removed meanwhile
    return not Path(path).exists()
