"""What an administrator may do with chosen rows: the verbs of the models, and what each of them answers per row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from experiments.messages import duration, plural
from experiments.models import Event, Experiment, Outcome, Overtaken, Refused, Trial, User, Worker, status

AT_ONCE = 200  # rows; each is a transaction of its own
NAMED = 10  # rows that a message names

Do = Callable[[models.Model, User], object]
Asks = Callable[[Sequence], list[str]]


class Acting:
    """For a ModelAdmin with acts: they are for administrators alone, whatever rights others were given."""

    def has_action_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and request.user.is_superuser

    def response_action(self, request: HttpRequest, queryset: models.QuerySet) -> HttpResponse | None:
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(key.isascii() and key.isdigit() and len(key) < 19 for key in chosen):
            self.message_user(request, "Choose rows of this list.", messages.WARNING)
            return None
        return super().response_action(request, queryset)


def action(verb: str, *, label: str, done: str, do: Do, asks: Asks | None = None) -> Callable:
    """An action of the administration: `do(row, by)` with each chosen row, and one message for each answer.

    `do` returns False when it was already so, or a sentence that the person should know; what it refuses is told with
    its reason. `asks` gives the consequences, which are shown on a page before anything is done.
    """

    @admin.action(description=label, permissions=["action"])
    def run(
        modeladmin: admin.ModelAdmin, request: HttpRequest, queryset: models.QuerySet
    ) -> TemplateResponse | None:
        rows = list(queryset.order_by("pk")[: AT_ONCE + 1])
        if not rows:
            said = "None of the chosen rows is in this list any more. Look again."
            modeladmin.message_user(request, said, messages.WARNING)
            return None
        if len(rows) > AT_ONCE:
            said = f"At most {AT_ONCE} rows at once. Choose fewer, with the search or a filter. Nothing was changed."
            modeladmin.message_user(request, said, messages.ERROR)
            return None
        if asks and "yes" not in request.POST:
            return _question(modeladmin, request, verb, label, rows, asks(rows))
        for level, said in _answers(modeladmin, request, rows, do, done):
            modeladmin.message_user(request, said, level)
        return None

    run.__name__ = verb
    return run


def _question(
    modeladmin: admin.ModelAdmin,
    request: HttpRequest,
    verb: str,
    label: str,
    rows: Sequence[models.Model],
    said: list[str],
) -> TemplateResponse:
    context = {
        **modeladmin.admin_site.each_context(request),
        "title": f"{label}: {plural(len(rows), modeladmin.opts.verbose_name)}?",
        "opts": modeladmin.opts,
        "verb": verb,
        "label": label,
        "rows": rows,
        "said": said,
    }
    return TemplateResponse(request, "admin/experiments/action.html", context)


def _answers(
    modeladmin: admin.ModelAdmin, request: HttpRequest, rows: Sequence[models.Model], do: Do, done: str
) -> list[tuple[int, str]]:
    changed, already = [], []
    refused, noted = defaultdict(list), defaultdict(list)
    for row in rows:
        try:
            answer = do(row, request.user)
        except Overtaken:
            refused["Somebody was faster: it changed meanwhile. Look again."].append(row)
        except Refused as reason:
            refused[str(reason)].append(row)
        else:
            if answer is False:
                already.append(row)
                continue
            changed.append(row)
            modeladmin.log_change(request, row, f"{done}.")
            if isinstance(answer, str):
                noted[answer].append(row)
    told = [(messages.SUCCESS, f"{done}: {_names(changed)}.")] if changed else []
    if already:
        told.append((messages.INFO, f"Already so, nothing changed: {_names(already)}."))
    told += [(messages.WARNING, f"{_names(some)}: {reason}") for reason, some in noted.items()]
    told += [(messages.ERROR, f"{_names(some)}: {reason}") for reason, some in refused.items()]
    return told


def _names(rows: Sequence[models.Model]) -> str:
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return ", ".join(str(row) for row in rows[:NAMED]) + more


# --- experiments --------------------------------------------------------------------------------------------------


def _ask_stop(rows: Sequence[Experiment]) -> list[str]:
    alive, waiting = sum(row.alive_count for row in rows), sum(row.waiting_count for row in rows)
    return [
        f"{plural(alive, 'running trial')} will end, and {plural(waiting, 'waiting one')} will not start. "
        "Results so far are kept, and an experiment that was stopped can be resumed."
    ]


def _ask_delete(rows: Sequence[Experiment]) -> list[str]:
    trials = sum(row.count(state) for row in rows for state in status.TRIAL_STATES)
    return [
        f"With {plural(trials, 'trial')}, their values and logs, nobody will be able to view or find them. They stay "
        "in their workspace's trash, from where they can be restored. What is active is refused: stop it first."
    ]


ON_EXPERIMENTS = (
    action("stop", label="Stop", done="Stopping", asks=_ask_stop, do=lambda e, by: e.stop(by=by)),
    action("pause", label="Pause", done="Paused", do=lambda e, by: e.pause(by=by)),
    action("dequeue", label="Dequeue", done="Out of its queue", do=lambda e, by: e.dequeue(by=by)),
    action(
        "delete",
        label="Move to the trash",
        done="In the trash",
        asks=_ask_delete,
        do=lambda e, by: e.delete_to_trash(by=by),
    ),
)


# --- trials -------------------------------------------------------------------------------------------------------


def _ask_rerun(rows: Sequence[Trial]) -> list[str]:
    return [
        f"{plural(len(rows), 'job starts,jobs start')}, and resources are used: a new trial with the same values and "
        "the original command, free of the budget. What cannot be rerun is refused with the reason."
    ]


def _ask_requeue(rows: Sequence[Trial]) -> list[str]:
    return [
        "For a running trial whose worker is stuck. It fails as “worker lost” and is tried again from the start, as "
        "long as its experiment's retries last. A worker that lives ends the process, and its results are lost."
    ]


def requeue(trial: Trial, by: User) -> str | None:
    """Takes a trial from a worker that is stuck: it is lost, and its values are tried again. Returns what else the
    person should know. Raises `Refused` when no worker holds it."""
    with trial.locked():
        if trial.state not in status.TRIAL_ALIVE:
            raise Refused(f"It is {trial.state}. Only a running trial can be requeued.")
        Event.note("requeue", trial.experiment, trial=trial, by=by, why=f"held by {trial.worker}")
        trial.settle(Outcome.lost(f"{by.username} requeued it."), claim=trial.claim)
        if trial.reruns.exists():
            return None
        return (
            f"It is {trial.state}, but not tried again: its experiment is stopping, or its retries are spent."
        )


ON_TRIALS = (
    action("stop", label="Stop", done="Stopping", do=lambda t, by: t.stop(by=by)),
    action(
        "rerun", label="Rerun", done="Lined up again", asks=_ask_rerun, do=lambda t, by: bool(t.rerun(by=by))
    ),
    action(
        "requeue", label="Requeue (its worker is stuck)", done="Taken back", asks=_ask_requeue, do=requeue
    ),
)


# --- workers ------------------------------------------------------------------------------------------------------


def _ask_release(rows: Sequence[Worker]) -> list[str]:
    held = Trial.objects.filter(worker__in=rows, state__in=status.TRIAL_ALIVE).count()
    said = [
        f"{plural(held, 'running trial')} will be lost, and tried again from the start elsewhere, as long as their "
        "experiments' retries last."
    ]
    for worker in rows:
        if worker.gone_at is None:
            age = duration(timezone.now() - worker.heard_at)
            said.append(
                f"{worker} was heard {age} ago. If it lives, it ends its processes and starts anew; to let them end "
                "first, drain it instead."
            )
    return said


ON_WORKERS = (
    action("drain", label="Drain", done="Taking no new trials", do=lambda w, by: w.drain(by=by)),
    action("undrain", label="Undrain", done="Taking new trials again", do=lambda w, by: w.undrain(by=by)),
    action(
        "release",
        label="Release the lease",
        done="Declared gone",
        asks=_ask_release,
        do=lambda w, by: w.release(by=by),
    ),
)
