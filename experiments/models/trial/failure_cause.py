"""Causes of failures: why a trial failed, and which failures count as the same."""

from __future__ import annotations

import hashlib
import re
import signal
from typing import TYPE_CHECKING

from .outcome import Failure

if TYPE_CHECKING:
    from .model import Trial

_FOLDED = re.compile(
    r"(?P<path>(?:~|\.{1,2})?(?:/[\w.@+~%=-]+){2,}/?)"
    r"|0x[0-9a-f]+|\b(?=[0-9a-f-]*\d)[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b"
    r"|(?:(?<![\w.])[-+−])?\d+(?:[.,]\d+)*(?:e[+-]?\d+)?",
    re.IGNORECASE,
)


def key_of(trial: Trial) -> str:
    """Return a key that is equal for trials with the same failure, ignoring numbers, paths and addresses in the
    detail."""
    text = " ".join(_FOLDED.sub(_fold, trial.detail).casefold().split())
    evidence = f"{trial.failure} {trial.exit_code} {trial.signal} {text}"
    return hashlib.sha1(evidence.encode(), usedforsecurity=False).hexdigest()[:12]


def cause_of(trial: Trial) -> str:
    """Return why the trial failed, in a few words: `Exit code 1`, `Out of memory`; empty when it did not."""
    if not trial.failure:
        return ""
    if trial.failure == Failure.EXIT_CODE and trial.exit_code is not None:
        return f"Exit code {trial.exit_code}"
    if trial.failure == Failure.SIGNAL and trial.signal:
        return exit_of(trial)
    return Failure(trial.failure).label


def exit_of(trial: Trial) -> str:
    """Return `exit code 1` or `SIGKILL (signal 9)`; empty while neither is known."""
    if trial.signal:
        try:
            return f"{signal.Signals(trial.signal).name} (signal {trial.signal})"
        except ValueError:
            return f"signal {trial.signal}"
    return f"exit code {trial.exit_code}" if trial.exit_code is not None else ""


def _fold(match: re.Match[str]) -> str:
    return "/…" if match["path"] else "#"
