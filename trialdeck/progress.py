"""A progress line on a terminal; elsewhere, one line per state change."""

from __future__ import annotations  # for Python 3.8

import shutil
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

WIDTH = 12
ENDED_TRIALS = ("succeeded", "stopped", "early_stopped", "failed")


class Progress:
    """Shows the progress of an experiment. Call `show` for updates, and `close` at the end."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.is_terminal = self.stream.isatty()
        self._last = ""

    def show(self, experiment: dict) -> None:
        if self.is_terminal:
            columns = shutil.get_terminal_size().columns
            self._write(
                "\r" + progress_line(experiment)[: columns - 1].ljust(min(len(self._last), columns - 1))
            )
            self._last = progress_line(experiment)
        elif experiment["state"] != self._last:
            self._last = experiment["state"]
            why = f" ({experiment['reason']})" if experiment.get("reason") else ""
            self._write(f"{experiment['id']} {experiment['name']}: {experiment['state']}{why}\n")

    def close(self) -> None:
        if self.is_terminal and self._last:
            self._write("\n")

    def _write(self, text: str) -> None:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):  # the reader is gone
            pass
        except UnicodeEncodeError:
            self.stream.write(text.encode("ascii", "replace").decode())


def progress_line(experiment: dict) -> str:
    """Return `running  ████········ 6/20 · 2 running · 1 failed · best 0.931 (#4) · 0:01:12`"""
    counts = experiment.get("counts", {})
    ended = sum(counts.get(state, 0) for state in ENDED_TRIALS)
    most = experiment.get("settings", {}).get("max_trials")
    items = [f"{ended} trials"]
    if most:
        filled = min(WIDTH, WIDTH * ended // most)
        items = ["█" * filled + "·" * (WIDTH - filled) + f" {ended}/{most}"]
    running = counts.get("running", 0) + counts.get("stopping", 0)
    items += [f"{running} running"] if running else []
    items += [f"{counts['failed']} failed"] if counts.get("failed") else []
    best = experiment.get("best")
    items += [f"best {best['value']:.12g} (#{best['number']})"] if best else []
    items += [f"{experiment['front']['size']} on the Pareto front"] if experiment.get("front") else []
    items += [duration(experiment.get("elapsed_s") or 0)]
    return f"{experiment['state']:9} " + " · ".join(items)


def duration(seconds: float) -> str:
    """Return `1:02:03`, or `2d 1:02:03`."""
    days, rest = divmod(int(seconds), 86400)
    text = f"{rest // 3600}:{rest % 3600 // 60:02}:{rest % 60:02}"
    return f"{days}d {text}" if days else text
