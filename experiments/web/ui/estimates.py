"""Estimates as text for pages: the end of an experiment, its compute, and the progress of a trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from experiments.messages import OVER_A_YEAR, YEAR_S, amount, clock, count, duration
from experiments.models import Experiment, Trial, TrialState
from experiments.scheduler.estimate import Estimate, Finished, Running, progress

SOON_S = 900  # an end sooner than this is shown as minutes from now, not as a time of day
DAY_S = 86_400


def ends(estimate: Estimate, now: datetime) -> SafeString | str:
    """Return `15:10–15:45`, `about 15:10`, `in 4 m to 9 m` or `in over a year`; empty without an estimate."""
    if estimate.end_s is None:
        return ""
    least, most = estimate.end_s
    if most < SOON_S or most > YEAR_S:
        return f"in {span_range((least, most))}"
    first, last = now + timedelta(seconds=least), now + timedelta(seconds=most)
    days = [timezone.localtime(moment).date() for moment in (first, last)]
    if most - least < 60 or (most > DAY_S and days[0] == days[1]):
        return format_html("about {}", clock(last))
    return format_html("{}–{}", clock(first), clock(last, since=first))


def ends_in(estimate: Estimate) -> str:
    """Return `in 1 h 22 m to 1 h 57 m`; empty without an estimate, or if `ends` already returns a time span."""
    if estimate.end_s is None or not SOON_S <= estimate.end_s[1] <= YEAR_S:
        return ""
    return f"in {span_range(estimate.end_s)}"


def span_range(spans: tuple[float, float]) -> str:
    """Return a range of durations in seconds as text: `1 h 22 m to 1 h 57 m`, `12 m` if both ends look the same, `300 d
    to over a year`."""
    least, most = map(_rounded, spans)
    return f"{least} to {most}" if least != most else most


def slot_time(seconds: float) -> tuple[str, str]:
    """Return slot time as a number and its unit: ("18.2", "slot h")."""
    if seconds < 60:
        return amount(seconds, 0), "slot s"
    if seconds < 3600:
        return amount(seconds / 60), "slot min"
    hours = seconds / 3600
    return (amount(hours) if hours < 1000 else count(round(hours))), "slot h"


def slot_time_range(estimate: Estimate) -> str:
    """Return the remaining compute: `3.1–4.4 slot h to go`; empty if unknown or zero."""
    if estimate.compute_s is None or estimate.compute_s[1] < 1:
        return ""
    most, unit = slot_time(estimate.compute_s[1])
    scale = {"slot s": 1, "slot min": 60, "slot h": 3600}[unit]
    digits = 0 if unit == "slot s" or estimate.compute_s[1] >= 1000 * scale else 1
    least = amount(estimate.compute_s[0] / scale, digits)
    return f"{most} {unit} to go" if least == most else f"{least}–{most} {unit} to go"


def compute_so_far(experiment: Experiment, alive: Sequence[Trial], now: datetime) -> float:
    """Return the slot time that its trials have used, in seconds, including running ones."""
    started = (trial.started_at for trial in alive if trial.started_at)
    return experiment.compute_s + sum(max(0.0, (now - at).total_seconds()) for at in started)


@dataclass(frozen=True, slots=True)
class TrialProgress:
    """Progress of a running trial: `share` (0 to 1; None: unknown), `step` as text, `left` as text."""

    share: float | None
    step: str
    left: str

    @property
    def percent(self) -> int | None:
        return None if self.share is None else round(100 * self.share)


def trial_progress(trial: Trial, finished: Finished, now: datetime) -> TrialProgress:
    """Return the progress of a trial that has not ended, from its reports and the durations of earlier trials."""
    if trial.steps_total and trial.steps_done is not None:
        step = f"step {count(trial.steps_done)} of {count(trial.steps_total)}"
    elif trial.last_step is not None:
        step = f"step {count(trial.last_step)}"
    else:
        step = "no result yet"
    if trial.state != TrialState.RUNNING or trial.started_at is None:
        return TrialProgress(None, step, "")
    so_far = progress(Running.of(trial, now), finished)
    if so_far is None:
        return TrialProgress(None, step, "")
    left = "almost done" if so_far.left_s < 1 else f"about {_rounded(so_far.left_s)} left"
    if so_far.left_s > YEAR_S:
        left = f"{OVER_A_YEAR} left"
    return TrialProgress(so_far.share, step, left)


def _rounded(seconds: float) -> str:
    """Return a duration rounded to the precision of an estimate: to 5 s from 20 s on, to minutes from 2 minutes on."""
    if seconds > YEAR_S:
        return OVER_A_YEAR
    rounded_s = max(0, round(seconds))
    step = 60 if rounded_s >= 120 else 5 if rounded_s >= 20 else 1
    return duration(round(rounded_s / step) * step)
