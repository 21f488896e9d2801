"""Events of a page: consecutive system events folded into one line, under headings by day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import groupby

from django.utils import timezone

from experiments.messages import plural
from experiments.models import Event, Revision, status
from experiments.web.experiment.edit.settings_diff import Change, changes
from experiments.web.ui.descriptions import FeedEntry, feed_entries
from experiments.web.ui.setting_labels import labels_in

LEAST_FOLDED = 3  # consecutive system events
MOST_CHANGES = 6  # of an edit


@dataclass(frozen=True, slots=True)
class Item:
    """One line: an entry, or `folded` system entries with a `summary`."""

    entry: FeedEntry
    is_person: bool = False
    summary: str = ""
    folded: list[FeedEntry] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    more_changes: int = 0
    diff: int | None = None  # the revision that an edit made


@dataclass(frozen=True, slots=True)
class Day:
    """The items of one day in the reader's time zone."""

    heading: str
    date: date
    items: list[Item]


def items_of(
    events: Iterable[Event], *, folds: bool, revisions: Mapping[int, Revision] | None = None
) -> list[Item]:
    """Return the lines, in the order of the events. Events of the experiment itself are never folded."""
    items: list[Item] = []
    run: list[FeedEntry] = []

    def close() -> None:
        if len(run) >= LEAST_FOLDED:
            items.append(Item(run[0], summary=_summary(run), folded=list(run)))
        else:
            items.extend(Item(entry) for entry in run)
        run.clear()

    for entry in feed_entries(events):
        event = entry.event
        if folds and event.by is None and isinstance(event, Event) and event.trial_id is not None:
            run.append(entry)
            continue
        close()
        items.append(_item(entry, event, revisions or {}))
    close()
    return items


def days_of(items: Iterable[Item]) -> list[Day]:
    """Return the items by day."""
    today = timezone.localdate()

    def day_of(item: Item) -> date:
        return timezone.localtime(item.entry.event.at).date()

    return [Day(_heading(day, today), day, list(of_day)) for day, of_day in groupby(items, key=day_of)]


def _heading(day: date, today: date) -> str:
    if day == today:
        return "Today"
    return "Yesterday" if day == today - timedelta(days=1) else f"{day:%A}"


def _item(entry: FeedEntry, event: object, revisions: Mapping[int, Revision]) -> Item:
    assert isinstance(event, Event)
    if event.verb not in ("edit", "update") or not event.after.isdecimal():
        return Item(entry, is_person=event.by is not None)
    number = int(event.after)
    before, after = revisions.get(number - 1), revisions.get(number)
    all_changes = changes(before.settings, after.settings) if before and after else []
    short = [change for change in all_changes if not change.lines]
    _, reason = labels_in(event.why)
    return Item(
        replace(entry, detail=f"“{reason}”" if reason else "") if short else entry,
        is_person=event.by is not None,
        changes=short[:MOST_CHANGES],
        more_changes=len(all_changes) - len(short[:MOST_CHANGES]),
        diff=number,
    )


def _summary(entries: Iterable[FeedEntry]) -> str:
    """Return `18 trials succeeded, 6 stopped early`; starts count only if no trial ended."""
    counts = Counter(entry.event.verb for entry in entries)
    ended = {verb: count for verb, count in counts.items() if verb in status.TRIAL_SETTLED}
    shown = ended or dict(counts)
    parts = [f"{count:,} {_word(verb)}" for verb, count in sorted(shown.items(), key=lambda pair: -pair[1])]
    first = next(iter(sorted(shown.values(), reverse=True)))
    parts[0] = f"{plural(first, 'trial')} {parts[0].split(' ', 1)[1]}"
    return ", ".join(parts)


def _word(verb: str) -> str:
    if verb == "running":
        return "started"
    state = status.TRIAL_STATES.get(verb)
    return state.label.lower() if state else verb
