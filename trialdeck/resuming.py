"""How an ended experiment can be resumed: the call in Python, and the command on the command line."""

from __future__ import annotations  # for Python 3.8

import contextlib

from trialdeck import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

ENDED = ("stopped", "completed", "failed", "published")
NOTHING_LEFT = "Every value in the search space was tried: nothing is left to resume."


def how_to(row: dict[str, Any], port: int) -> str:
    """Return a sentence with the call that resumes this experiment, in the API's shape, or that nothing is left to do.

    The call has an argument only if nothing would be left to do without it.
    """
    if row["state"] in ENDED and not row.get("to_resume"):
        return NOTHING_LEFT
    enlarged = {"max duration reached": "max_experiment_duration='…'", "goal reached": "goal=…"}
    more = _needed(row, "rerun_failed=True", enlarged, "max_trial_number=…")
    return f"To resume: Experiment.resume('{row['id']}', {port}{', ' if more else ''}{more})"


def how_to_on_command_line(row: dict[str, Any]) -> str:
    """Return a sentence with the command that resumes this experiment."""
    enlarged = {"max duration reached": "--duration TIME", "goal reached": "--goal VALUE"}
    more = _needed(row, "--rerun-failed", enlarged, "--trialnum NUMBER")
    return f"To resume: trialdeck resume {row['id']}{' ' if more else ''}{more}"


def _needed(row: dict[str, Any], rerun: str, enlarged: dict[str, str], more_trials: str) -> str:
    remaining = row.get("to_resume") or {}
    if not remaining.get("needs_budget"):
        return ""
    return (
        rerun if remaining["failed"] else enlarged.get(remaining.get("spent") or row["reason"], more_trials)
    )


@contextlib.contextmanager
def refusals_name_the_way(
    read: Callable[[], dict[str, Any]], how: Callable[[dict[str, Any]], str]
) -> Iterator[None]:
    """Within the block, the refusal of a resume with nothing left to do ends with the way to resume all the same."""
    try:
        yield
    except errors.Refused as refused:
        row = read()
        if not (row.get("to_resume") or {}).get("needs_budget"):
            raise
        raise errors.Refused(f"{refused.detail} {how(row)}", status=refused.status) from None
