"""Floor 4: what the page and the API say alike: what an Update would do, and why the database is away."""

from __future__ import annotations

from experiments.foresee import Consequences
from experiments.models import Experiment, Queue, Settings
from experiments.templatetags.deck import count, plural

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
    stops_surplus: bool = False,
    judges_running: bool = False,
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
        asked = {"stops_surplus": stops_surplus, "judges_running": judges_running}
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
    old: Settings, new: Settings, coming: Consequences, *, stops_surplus: bool, judges_running: bool
) -> Said:
    rest = " trial keeps its revision." if coming.running == 1 else " trials keep their revision."
    if coming.surplus:
        rest += f" {count(coming.surplus)} more than may run at once: "
        if stops_surplus:
            rest += f"the newest {'one is' if coming.surplus == 1 else 'ones are'} stopped now."
        else:
            rest += "they finish, and nothing starts until then."
    if judges_running:
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
