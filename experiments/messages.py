"""Text that pages, API and admin share: numbers, durations and times as text, and common sentences.

Every formatter answers a missing value (None or "") with the dash of the tables, `—`.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from experiments.models import Experiment, Queue, Settings
from experiments.models.status import EXPERIMENT_STATES, TRIAL_STATES
from experiments.scheduler.impact import Consequences

DASH = "—"
STATES = EXPERIMENT_STATES | TRIAL_STATES  # words that both lists contain look the same

# Numbers


def value(number: Any, decimals: int | None = None) -> str:
    """A metric or parameter: `0.8147`, `347`, `2.10e-4` for the very small and large.

    Alone it has four places, or none when it is whole; a column gives all of its numbers the same `decimals`.
    Text, booleans and what came as a whole number are said as they are.
    """
    if number is None or number == "":
        return DASH
    if isinstance(number, bool) or not isinstance(number, int | float):
        return str(number)
    if isinstance(number, int):
        return str(number) if abs(number) < 10**15 else f"{number:.2e}"
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    if number == 0 or 0.01 <= abs(number) < 10**6:
        return (
            str(int(number)) if decimals is None and number == int(number) else f"{number:.{decimals or 4}f}"
        )
    mantissa, exponent = f"{number:.{max((decimals or 4) - 2, 1)}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def count(number: int | None) -> str:
    """A whole number with its thousands apart: `2,914`."""
    return DASH if number is None else f"{number:,}"


def plural(number: int | None, words: str) -> str:
    """The number with its word: {{ 3|plural:"trial" }} is "3 trials"; irregular: "entry,entries"."""
    one, _, many = words.partition(",")
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def percent(share: float | None) -> str:
    """A share of 0 to 1: `92 %`."""
    return DASH if share is None else f"{share * 100:.0f} %"


def bytes_(number: int | None) -> str:
    """A size in bytes: `512 B`, `2.1 GB` (powers of 1000)."""
    if number is None:
        return DASH
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


# Times


def duration(span: timedelta | float | None) -> str:
    """A span (seconds or timedelta) in its two largest units: `1.8 s`, `7 m 58 s`, `4 h 36 m`, `2 d 4 h`."""
    seconds = _seconds(span)
    if seconds is None:
        return DASH
    if seconds < 9.95:
        return f"{seconds:.1f} s" if round(seconds, 1) % 1 else f"{seconds:.0f} s"
    whole = round(seconds)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if not minutes:
        return f"{s} s"
    if not hours:
        return f"{m} m {s:02} s" if s else f"{m} m"
    if hours < 48:
        return f"{hours} h {m:02} m" if m else f"{hours} h"
    return f"{days} d {h} h" if h else f"{days} d"


def duration_short(span: timedelta | float | None) -> str:
    """A span in one unit, for narrow columns: `36 s`, `12 m`, `5 h`, `3 d`. Say the whole in `title`."""
    seconds = _seconds(span)
    if seconds is None:
        return DASH
    for unit, length, until in (("s", 1, 59.5), ("m", 60, 59.5 * 60), ("h", 3600, 47.5 * 3600)):
        if seconds < until:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def ago(moment: datetime | None) -> str:
    """How long ago, as <time> with the full moment in its title: `41 m ago`."""
    if moment is None:
        return DASH
    seconds = (timezone.now() - moment).total_seconds()
    return _time(moment, "now" if seconds < 1 else f"{duration_short(seconds)} ago")


def clock(moment: datetime | None) -> str:
    """When, as short as is still clear: `13:40` today, `Fri 17:20` this week, `21 Nov` or `21 Nov 2025`."""
    if moment is None:
        return DASH
    at, today = timezone.localtime(moment), timezone.localtime()
    days = abs((today.date() - at.date()).days)
    if days == 0:
        return _time(moment, f"{at:%H:%M}")
    if days < 7:
        return _time(moment, f"{at:%a %H:%M}")
    return _time(moment, f"{at.day} {at:%b}" if at.year == today.year else f"{at.day} {at:%b %Y}")


def _time(moment: datetime, said: str) -> SafeString:
    at = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S %Z}", said
    )


def _seconds(span: timedelta | float | None) -> float | None:
    """Seconds, never negative (clocks of two machines may disagree by a little)."""
    if span is None or span == "":
        return None
    return max(span.total_seconds() if isinstance(span, timedelta) else float(span), 0)


def state_label(state: object) -> str:
    """The word people read for a state: `early_stopped` is "Stopped early"."""
    known = STATES.get(str(state))
    return known.label if known else str(state)


# Sentences


Said = tuple[str, str]  # what matters most of a sentence, and the rest of it

DATABASE_FULL = (
    "The disk that holds the database is full. Nothing was changed; make room there, then try again."
)
DATABASE_AWAY = (
    "The database does not answer. Nothing was changed; trials go on running. Try again in a moment."
)


def database_away(error: Exception) -> str:
    """Why the database cannot be used now, for people."""
    is_full = any(words in str(error) for words in ("disk is full", "No space left"))
    return DATABASE_FULL if is_full else DATABASE_AWAY


def consequences(
    experiment: Experiment,
    settings: Settings,
    coming: Consequences,
    *,
    moves_to: Queue | None = None,
    stop_surplus: bool = False,
    apply_to_running: bool = False,
) -> list[Said]:
    """What `settings`, and a move to another queue, would do to an experiment under way."""
    old = experiment.settings
    is_revised = bool(old.differences(settings))
    said: list[Said] = []
    if coming.ending:
        rest = " Nothing new starts"
        if coming.running:
            ran = plural(coming.running, "running trial has,running trials have")
            rest += f"; it completes when {ran} ended"
        said.append((f"It will end: {coming.ending}.", f"{rest}."))
    if coming.judged:
        said.append(_of_finished(coming))
    if coming.running and is_revised:
        asked = {"stop_surplus": stop_surplus, "apply_to_running": apply_to_running}
        said.append(_of_running(old, settings, coming, **asked))
    if moves_to:
        said.append(_of_queue(experiment, coming, moves_to))
    if is_revised and not coming.ending:
        rest = f" use revision {experiment.revision.number + 1}."
        if coming.redrawn:
            rest += f" {plural(coming.redrawn, 'waiting proposal is,waiting proposals are')} made anew."
        said.append(("Next trials", rest))
    return said


def _of_finished(coming: Consequences) -> Said:
    judged = plural(coming.judged, "finished trial")
    if not coming.outside:
        looked_at = "" if coming.is_exact else " that were looked at"
        return "", f"All {judged}{looked_at} fit the new search space."
    lead = f"{count(coming.outside)} of {judged}"
    if not coming.is_exact:
        lead = f"At least {count(coming.outside)} of the latest {judged}"
    rest = f" {'lies' if coming.outside == 1 else 'lie'} outside the new search space. They stay visible"
    if coming.needed is None:
        return lead, f"{rest}."
    if coming.inside >= coming.needed:
        return lead, f"{rest} and no longer inform the search."
    fits = plural(coming.needed, "finished trial fits,finished trials fit")
    return lead, f"{rest}, and stop informing the search as soon as {fits} ({count(coming.inside)} now)."


def _of_running(
    old: Settings, new: Settings, coming: Consequences, *, stop_surplus: bool, apply_to_running: bool
) -> Said:
    rest = " trial keeps its revision." if coming.running == 1 else " trials keep their revision."
    if coming.surplus:
        rest += f" {count(coming.surplus)} more than may run at once: "
        if stop_surplus:
            rest += f"the newest {'one is' if coming.surplus == 1 else 'ones are'} stopped now."
        else:
            rest += "they finish, and nothing starts until then."
    if apply_to_running:
        rest += " They are judged by the new early stopping from now on, by all that they have reported."
    elif {"early_stopping", "early_stopping_arguments"} & old.differences(new).keys():
        rest += " The early stopping of their own revision goes on judging them."
    if old.max_trial_duration_s != new.max_trial_duration_s:
        rest += " The new time limit holds for them, too"
        if coming.overdue:
            run = plural(coming.overdue, "trial runs,trials run")
            rest += f": {run} longer already and {'is' if coming.overdue == 1 else 'are'} ended at once"
        rest += "."
    return f"{count(coming.running)} running", rest


def _of_queue(experiment: Experiment, coming: Consequences, queue: Queue) -> Said:
    rest = " its next trials start there"
    if experiment.waiting_count:
        rest = f" {plural(experiment.waiting_count, 'waiting trial moves,waiting trials move')} to its end"
    if coming.ahead:
        rest += f", behind {plural(coming.ahead, 'experiment')}"
    if queue.is_paused:
        rest += "; it is paused, so they wait."
    elif coming.slots:
        rest += f"; its workers have {plural(coming.slots, 'slot')}."
    else:
        rest += "; nobody serves it, so they wait until a worker does."
    return f"Queue {queue}:", rest + (" What runs ends where it is." if coming.running else "")
