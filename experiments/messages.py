"""Text that pages, API and admin share: formatted numbers, durations and times, and common sentences.

Every formatter returns `DASH` (`—`) for a missing value (None or "").
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any, NamedTuple

from django.utils import timezone
from django.utils.safestring import SafeString

from experiments import database_clock
from experiments.charts.drawing import amounts
from experiments.models import Experiment, ExperimentState, Queue, Settings
from experiments.models.status import EXPERIMENT_STATES, SEARCH_BROKEN, TRIAL_STATES
from experiments.runner.tool_process import is_disk_full
from experiments.scheduler.impact import Consequences

DASH = "—"
MAX_DECIMALS = 13
IN_FULL = 10**18  # whole numbers below this are written in full
YEAR_S = 365 * 86_400
OVER_A_YEAR = "over a year"  # further ahead, an estimate has no meaning
STATES = EXPERIMENT_STATES | TRIAL_STATES  # a word in both lists has the same label and glyph

# Numbers


def value(number: Any, decimals: int | None = None) -> str:
    """Return a metric or parameter as text: `0.8147`, `347`, `2.10e-4` for very small and large numbers.

    By default a float has four decimals, or none when it is whole; a table column passes the same `decimals`
    for all of its numbers (see `decimals_of`). Text and whole numbers are returned in full, booleans, lists and objects
    as JSON.
    """
    if number is None or number == "":
        return DASH
    if isinstance(number, bool | list | dict):
        return json.dumps(number, ensure_ascii=False)  # as a trial receives it
    if not isinstance(number, int | float):
        return str(number)
    if isinstance(number, int):
        return str(number)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    is_plain = number == 0 or 0.01 <= abs(number) < 10**6
    if number == int(number) and (decimals is None or not is_plain) and abs(number) < IN_FULL:
        return str(int(number))
    if is_plain:
        return f"{number:.{decimals or 4}f}"
    digits = max((decimals or 4) - 2, 1)
    mantissa, exponent = f"{number:.{digits}e}".split("e")
    if 0 < int(exponent) < digits:
        return f"{number:.{digits - int(exponent)}f}"  # 123456789.006 is read more easily than its power
    return f"{mantissa}e{int(exponent)}"


def decimals_of(values: Iterable[object]) -> int | None:
    """Return the number of decimals that distinguishes different values in a column, at least 4; None if all are whole.

    Numbers that agree in twelve digits count as equal: sums of floats seldom agree in the last ones.
    """
    floats = [number for number in values if isinstance(number, float)]
    numbers = [number for number in floats if -math.inf < number < math.inf]
    if not any([number % 1 or not -IN_FULL < number < IN_FULL for number in numbers]):
        return None
    distinct = set(map(float, [f"{number:.11e}" for number in numbers]))
    return next((n for n in range(4, MAX_DECIMALS) if _are_distinct(distinct, n)), MAX_DECIMALS)


def _are_distinct(numbers: Iterable[float], decimals: int) -> bool:
    """Return whether all numbers differ as text. With too few decimals, the first two that agree come early."""
    numbers = list(numbers)
    if min(map(abs, numbers)) >= 0.01 and max(map(abs, numbers)) < 10**6:  # as `value` writes them
        return len({f"{number:.{decimals}f}" for number in numbers}) == len(numbers)
    seen = set()
    for number in numbers:
        shown = float(value(number, decimals))
        if shown in seen:
            return False
        seen.add(shown)
    return True


def precise(number: Any) -> str:
    """Return a number on its own: in full when it has up to twelve digits, else with eight decimals."""
    if not isinstance(number, float) or not math.isfinite(number) or number.is_integer():
        return value(number)
    return next(
        (text for n in range(4, 9) if math.isclose(float(text := value(number, n)), number, rel_tol=1e-12)),
        next(
            (text for n in range(9, MAX_DECIMALS + 1) if float(text := value(number, n)) == number),
            value(number, 8),
        ),
    )


def column_texts(rows: Iterable[Sequence[object]]) -> list[list[tuple[object, str]]]:
    """Return the cells of a table with their texts; the numbers of a column have the decimals that its spread needs.
    Times are those of the reader's zone, to the second."""
    cells = [list(row) for row in rows]
    places = [decimals_of(column) for column in zip_longest(*cells)]
    return [
        [(cell, _cell_text(cell, decimals)) for cell, decimals in zip(row, places, strict=False)]
        for row in cells
    ]


def _cell_text(cell: object, decimals: int | None) -> str:
    if isinstance(cell, datetime):
        return f"{timezone.localtime(cell):%Y-%m-%d %H:%M:%S}"
    return value(cell, decimals)


def set_best_decimals(experiments: Iterable[Experiment]) -> None:
    """Set `best_decimals` of the experiments of a list, alike for those with the same metric."""
    by_metric: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        by_metric.setdefault(experiment.metric, []).append(experiment)
    for group in by_metric.values():
        decimals = decimals_of(experiment.best_value for experiment in group)
        for experiment in group:
            experiment.best_decimals = decimals


def best_value(experiment: Experiment) -> str:
    """Return the best value on its own, with as many decimals as tell it from the earlier bests: `0.9822`, and not
    `0.98222222`. In full where that is shorter."""
    best = experiment.best_value
    if best is None:
        return DASH
    decimals = decimals_of([best, *(earlier for _, earlier in experiment.trace)])
    return min(value(best, decimals), precise(best), key=len)


def best_of_each(experiment: Experiment) -> str:
    """Return the best value of each objective of an experiment with several: `accuracy 0.93 ↑, latency_ms 3.1 ↓`."""
    return ", ".join(
        f"{name} {precise(best)} {'↓' if direction == 'minimize' else '↑'}"
        for (name, direction), (best, _, _) in zip(
            experiment.objectives.items(), experiment.objective_bounds, strict=True
        )
    )


def count(number: int | None) -> str:
    """Return an integer with thousands separators: `2,914`."""
    return DASH if number is None else f"{number:,}"


def plural(number: int | None, noun: str) -> str:
    """Return the number with its noun: {{ 3|plural:"trial" }} is "3 trials"; irregular: "entry,entries"."""
    singular, _, irregular = noun.partition(",")
    return f"{count(number)} {singular if number == 1 else irregular or singular + 's'}"


def percent(share: float | None) -> str:
    """Return a share (0 to 1) as a percentage: `92%`; `< 1%` and `> 99%` where rounding would make it none or all."""
    return DASH if share is None else amounts.share(share)


def amount(number: float | None, decimals: int = 1) -> str:
    """Return an amount, such as slot hours: `3.2`, `1,234.5`, `0`; `< 0.1` where it would round to zero."""
    return DASH if number is None else amounts.amount(number, decimals)


def difference(number: float, size: str) -> str:
    """Return the `size` of a difference, as text, with its sign: `+0.3`, `−2`, `±0`."""
    return amounts.signed(number, size)


def bytes_(number: int | None) -> str:
    """Return a size in bytes as text: `512 B`, `2.1 GB` (powers of 1000)."""
    if number is None:
        return DASH
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def failures_of(experiment: Experiment) -> str:
    """Return `16 of 17 failed` of a completed experiment with failures; else nothing."""
    if experiment.state != ExperimentState.COMPLETED or not experiment.failed_count:
        return ""
    total = sum(experiment.count(state) for state in TRIAL_STATES)
    return f"{experiment.failed_count:,} of {total:,} failed"


def failed_heading(experiment: Experiment) -> str:
    """Return the heading of the callout of a failed experiment."""
    has_no_result = experiment.failed_count and not experiment.succeeded_count
    is_search = experiment.reason.startswith(SEARCH_BROKEN)
    return "No results" if has_no_result and not is_search else "Search failed"


# Times


def duration(span: timedelta | float | None) -> str:
    """Return a span (seconds or timedelta) in its two largest units: `1.8 s`, `7 m 58 s`, `4 h 36 m`, `2 d 4 h`."""
    seconds = _seconds(span)
    if seconds is None:
        return DASH
    if seconds < 9.95:
        return f"{seconds:.1f} s" if round(seconds, 1) % 1 else f"{seconds:.0f} s"
    rounded_s = round(seconds)
    minutes, s = divmod(rounded_s, 60)
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
    """Return a span in one unit, for narrow columns: `36 s`, `12 m`, `5 h`, `3 d`. Put the full one in `title`."""
    seconds = _seconds(span)
    if seconds is None:
        return DASH
    for unit, length, until in (("s", 1, 59.5), ("m", 60, 59.5 * 60), ("h", 3600, 47.5 * 3600)):
        if seconds < until:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def duration_range(spans: tuple[float, float]) -> str:
    """Return a range of spans in seconds: `12 m – 2 h`, and one of them where both read the same."""
    first, last = map(duration_short, spans)
    return first if first == last else f"{first} – {last}"


def end_range(spans: tuple[float, float]) -> str:
    """Return a range as `duration_range` does, for an estimated end: further ahead, only `over a year`."""
    first, last = (OVER_A_YEAR if span > YEAR_S else duration_short(span) for span in spans)
    return first if first == last else f"{first} – {last}"


def ago(moment: datetime | None) -> str:
    """Return how long ago, as <time> with the full date in its title: `41 m ago`."""
    if moment is None:
        return DASH
    seconds = (database_clock.now() - moment).total_seconds()
    text = "now" if seconds < 1 else f"{_elapsed(seconds)} ago"
    return _time(timezone.localtime(moment), text, f' data-age="{round(seconds, 1)}" data-form="ago"')


def running(span: timedelta | float | None) -> str:
    """Return the elapsed time of something that is running, which the browser keeps counting: `7 m 58 s`."""
    return _ticking(span, duration, "")


def running_short(span: timedelta | float | None) -> str:
    """Return the larger unit of a running duration, which the browser keeps counting: `7 m`."""
    return _ticking(span, _elapsed, "short")


def _elapsed(seconds: float) -> str:
    """Return the units that have passed: `7 m` until the eighth minute is over."""
    return " ".join(duration(round(seconds)).split()[:2])


def _ticking(span: timedelta | float | None, form: Callable[[float], str], name: str) -> str:
    seconds = _seconds(span)
    if seconds is None:
        return DASH
    return SafeString(f'<span data-age="{round(seconds, 1)}" data-form="{name}">{form(seconds)}</span>')


def clock(moment: datetime | None, since: datetime | None = None) -> str:
    """Return a date as short as is unambiguous: `13:40` today, `Fri 17:20` this week, `21 Nov` or `21 Nov 2025`.
    `since` is the start of a range that `moment` ends; the name of a weekday is not repeated."""
    if moment is None:
        return DASH
    zone = timezone.get_current_timezone()
    at, today = moment.astimezone(zone), database_clock.now().astimezone(zone)
    days = abs((today.date() - at.date()).days)
    if days == 0 or (since and days < 7 and at.date() == timezone.localtime(since).date()):
        return _time(at, f"{at:%H:%M}")
    if days < 7:
        return _time(at, f"{at:%a %H:%M}")
    return _time(at, f"{at.day} {at:%b}" if at.year == today.year else f"{at.day} {at:%b %Y}")


def time_of_day(moment: datetime) -> SafeString:
    """Return the time of day of an instant that is listed under its date: `13:40`."""
    at = moment.astimezone(timezone.get_current_timezone())
    return _time(at, f"{at:%H:%M}")


def second_of_day(moment: datetime) -> SafeString:
    """Return the time of day of an instant that is listed under its date, to the second: `13:40:02`."""
    at = moment.astimezone(timezone.get_current_timezone())
    return _time(at, f"{at:%H:%M:%S}")


def _time(at: datetime, text: str, attributes: str = "") -> SafeString:
    """Return the element of a local time. `text` and `attributes` are HTML; a page has hundreds of them."""
    title = html.escape(f"{at:%Y-%m-%d %H:%M:%S %Z}")
    return SafeString(f'<time datetime="{at.isoformat()}" title="{title}"{attributes}>{text}</time>')


def _seconds(span: timedelta | float | None) -> float | None:
    """Return seconds, never negative (clocks of two machines may differ slightly)."""
    if span is None or span == "":
        return None
    return max(span.total_seconds() if isinstance(span, timedelta) else float(span), 0)


def state_label(state: object) -> str:
    """Return the label of a state: `early_stopped` is "Stopped early"."""
    known_state = STATES.get(str(state))
    return known_state.label if known_state else str(state)


# Sentences


class Consequence(NamedTuple):
    """A sentence in two parts: the emphasized beginning and the rest."""

    lead: str
    explanation: str


DATABASE_FULL = "The database disk is full. Nothing was changed. Free some disk space, then try again."
DATABASE_AWAY = (
    "The database is not responding. Nothing was changed, and running trials continue. Try again shortly."
)


DATABASE_READ_ONLY = (
    "The database file cannot be written: its folder is read-only or not accessible. Nothing was changed. Make it "
    "writable, then try again."
)
DISK_FULL = "The disk of the web server is full. Nothing was stored. Free some disk space, then try again."
# As SQLite and PostgreSQL report it.
_READ_ONLY = ("readonly database", "unable to open database file", "Read-only file system")


def database_away(error: Exception) -> str:
    """Return why the database cannot be used now, for people."""
    if any(phrase in str(error) for phrase in _READ_ONLY):
        return DATABASE_READ_ONLY
    return DATABASE_FULL if is_disk_full(str(error)) else DATABASE_AWAY


def consequences(
    experiment: Experiment,
    settings: Settings,
    impact: Consequences,
    *,
    moves_to: Queue | None = None,
    stop_surplus: bool = False,
    apply_to_running: bool = False,
) -> list[Consequence]:
    """Return the consequences of `settings`, and of a move to another queue, for an active experiment."""
    old = experiment.settings
    is_revised = bool(old.differences(settings))
    sentences: list[Consequence] = []
    if impact.ending:
        rest = " No new trials start"
        if impact.running:
            ended = plural(impact.running, "running trial has,running trials have")
            rest += f"; the experiment completes when {ended} ended"
        sentences.append(Consequence(f"The experiment will end: {impact.ending}.", f"{rest}."))
    if impact.checked:
        sentences.append(_for_finished(impact))
    if impact.running and is_revised:
        options = {"stop_surplus": stop_surplus, "apply_to_running": apply_to_running}
        sentences.append(_for_running(old, settings, impact, **options))
    if moves_to:
        sentences.append(_for_queue(experiment, impact, moves_to))
    if is_revised and not impact.ending:
        rest = f" use revision {experiment.revision.number + 1}."
        if impact.redrawn:
            redrawn = plural(impact.redrawn, "waiting proposal is,waiting proposals are")
            rest += f" {redrawn} sampled again."
        sentences.append(Consequence("New trials", rest))
    return sentences


def _for_finished(impact: Consequences) -> Consequence:
    trials = plural(impact.checked, "finished trial")
    if not impact.outside:
        checked = "" if impact.is_exact else " checked"
        return Consequence("", f"All {trials}{checked} fit the new search space.")
    lead = f"{count(impact.outside)} of {trials}"
    if not impact.is_exact:
        lead = f"At least {count(impact.outside)} of the latest {trials}"
    rest = f" {'is' if impact.outside == 1 else 'are'} outside the new search space. They stay visible"
    if impact.needed is None:
        return Consequence(lead, f"{rest}.")
    if impact.inside >= impact.needed:
        return Consequence(lead, f"{rest} but no longer inform the search.")
    fits = plural(impact.needed, "finished trial fits,finished trials fit")
    return Consequence(
        lead, f"{rest} and inform the search until {fits} the new space ({count(impact.inside)} now)."
    )


def _for_running(
    old: Settings, new: Settings, impact: Consequences, *, stop_surplus: bool, apply_to_running: bool
) -> Consequence:
    is_one = impact.running == 1
    rest = " keeps its revision." if is_one else " keep their revision."
    if impact.surplus:
        rest += f" {count(impact.surplus)} over the new concurrency: "
        if stop_surplus:
            rest += "the newest is stopped now." if impact.surplus == 1 else "the newest are stopped now."
        else:
            rest += "no new trials start until enough finish."
    if apply_to_running:
        rest += (
            f" The new early stopping applies to {'it' if is_one else 'them'} too, including past results."
        )
    elif {"early_stopping", "early_stopping_arguments"} & old.differences(new).keys():
        subject = "The running trial keeps" if is_one else "Running trials keep"
        rest += f" {subject} the early-stopping rule of {'its' if is_one else 'their'} revision."
    if old.max_trial_duration_s != new.max_trial_duration_s:
        rest += f" The new time limit applies to {'it' if is_one else 'them'} too"
        if impact.overdue:
            exceeding = plural(impact.overdue, "trial already exceeds,trials already exceed")
            rest += f": {exceeding} the limit and {'is' if impact.overdue == 1 else 'are'} stopped"
        rest += "."
    return Consequence(plural(impact.running, "running trial"), rest)


def _for_queue(experiment: Experiment, impact: Consequences, queue: Queue) -> Consequence:
    rest = " new trials start there"
    if experiment.waiting_count:
        waiting = plural(experiment.waiting_count, "waiting trial moves,waiting trials move")
        rest = f" {waiting} to the end of the queue"
    if impact.ahead:
        rest += f", behind {plural(impact.ahead, 'experiment')}"
    if queue.is_paused:
        rest += "; the queue is paused, so they wait."
    elif impact.slots:
        rest += f"; its workers have {plural(impact.slots, 'slot')}."
    else:
        rest += "; no worker serves this queue, so they wait until one does."
    running = " Running trials finish on their current workers." if impact.running else ""
    return Consequence(f"Queue {queue}:", rest + running)
