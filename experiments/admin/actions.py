"""Actions on selected rows: methods of the models, and one message per result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from experiments import database_clock
from experiments.messages import duration, plural
from experiments.models import Experiment, Overtaken, Refused, Trial, User, Worker, status

from .base import user_of

MAX_ROWS = 200  # each row is a transaction of its own
MAX_NAMED = 10  # rows that a message names

Row = TypeVar("Row", bound=models.Model)

if TYPE_CHECKING:
    _Base = admin.ModelAdmin
else:
    _Base = object


class ActionsMixin(_Base):
    """For a ModelAdmin with actions. They are for administrators only, whatever permissions others have."""

    def has_action_permission(self, request: HttpRequest) -> bool:
        return request.user.is_active and user_of(request).is_superuser

    def response_action(
        self, request: HttpRequest, queryset: models.QuerySet, *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(key.isascii() and key.isdigit() and len(key) < 19 for key in selected):
            self.message_user(request, "Select rows in this list.", messages.WARNING)
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset, *args, **kwargs)


def row_action(
    verb: str,
    *,
    label: str,
    done: str,
    run: Callable[[Row, User], object] | None = None,
    confirm: Callable[[Sequence[Row]], list[str]] | None = None,
) -> Callable[..., TemplateResponse | None]:
    """Return an admin action that calls `run(row, by)` for each selected row, by default the row's method named `verb`,
    and shows one message per result.

    `run` returns False if the row already was in that state, or a warning to show; a `Refused` is shown with its
    reason. `confirm` returns the consequences, which are shown on a page before anything is done.
    """

    run_on = run or (lambda row, by: getattr(row, verb)(by=by))

    @admin.action(description=label, permissions=["action"])
    def action(
        modeladmin: admin.ModelAdmin, request: HttpRequest, queryset: models.QuerySet[Row]
    ) -> TemplateResponse | None:
        rows = list(queryset.order_by("pk")[: MAX_ROWS + 1])
        if not rows:
            text = "The selected rows are no longer in this list. Reload it and select again."
            modeladmin.message_user(request, text, messages.WARNING)
            return None
        if len(rows) > MAX_ROWS:
            text = (
                "Nothing was changed. Narrow the list with a search or filter, and select at most "
                f"{MAX_ROWS} rows."
            )
            modeladmin.message_user(request, text, messages.ERROR)
            return None
        if confirm and "yes" not in request.POST:
            return _confirmation_page(modeladmin, request, verb, label, rows, confirm(rows))
        for level, text in _run_all(modeladmin, request, rows, run_on, done):
            modeladmin.message_user(request, text, level)
        return None

    action.__name__ = verb
    return action


def _confirmation_page(
    modeladmin: admin.ModelAdmin,
    request: HttpRequest,
    verb: str,
    label: str,
    rows: Sequence[models.Model],
    consequences: list[str],
) -> TemplateResponse:
    context = {
        **modeladmin.admin_site.each_context(request),
        "title": f"{label}: {plural(len(rows), str(modeladmin.opts.verbose_name))}?",
        "opts": modeladmin.opts,
        "verb": verb,
        "label": label,
        "rows": rows,
        "consequences": consequences,
    }
    return TemplateResponse(request, "admin/experiments/action.html", context)


def _run_all(
    modeladmin: admin.ModelAdmin,
    request: HttpRequest,
    rows: Sequence[Row],
    run: Callable[[Row, User], object],
    done: str,
) -> list[tuple[int, str]]:
    changed: list[Row] = []
    unchanged: list[Row] = []
    refused: dict[str, list[Row]] = defaultdict(list)
    warned: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        try:
            result = run(row, user_of(request))
        except Overtaken:
            refused["Someone else changed this first. Reload the page and try again."].append(row)
        except Refused as reason:
            refused[str(reason)].append(row)
        else:
            if result is False:
                unchanged.append(row)
                continue
            changed.append(row)
            modeladmin.log_change(request, row, f"{done}.")
            if isinstance(result, str):
                warned[result].append(row)
    texts = [(messages.SUCCESS, f"{done}: {_names(changed)}.")] if changed else []
    if unchanged:
        texts.append((messages.INFO, f"Already done, nothing changed: {_names(unchanged)}."))
    texts += [(messages.WARNING, f"{_names(some)}: {reason}") for reason, some in warned.items()]
    texts += [(messages.ERROR, f"{_names(some)}: {reason}") for reason, some in refused.items()]
    return texts


def _names(rows: Sequence[models.Model]) -> str:
    more = f" and {len(rows) - MAX_NAMED} more" if len(rows) > MAX_NAMED else ""
    return ", ".join(str(row) for row in rows[:MAX_NAMED]) + more


# --- experiments --------------------------------------------------------------------------------------------------


def _confirm_stop(rows: Sequence[Experiment]) -> list[str]:
    running = plural(sum(row.alive_count for row in rows), "running trial")
    waiting = plural(sum(row.waiting_count for row in rows), "waiting trial")
    return [
        f"{running} will be stopped and {waiting} will not start. Results so far are kept. A stopped experiment can "
        "be resumed."
    ]


def _confirm_delete(rows: Sequence[Experiment]) -> list[str]:
    trials = sum(row.count(state) for row in rows for state in status.TRIAL_STATES)
    return [
        f"The experiments move to the trash of their workspace with {plural(trials, 'trial')}, including values and "
        "logs, and can be restored from there. Active experiments are refused: stop them first."
    ]


def _delete(experiment: Experiment, by: User) -> object:
    return experiment.delete_to_trash(by=by)


EXPERIMENT_ACTIONS = (
    row_action("stop", label="Stop", done="Stopping", confirm=_confirm_stop),
    row_action("pause", label="Pause", done="Paused"),
    row_action("dequeue", label="Dequeue", done="Dequeued"),
    row_action("delete", label="Move to trash", done="Moved to trash", confirm=_confirm_delete, run=_delete),
)


# --- trials -------------------------------------------------------------------------------------------------------


def _confirm_rerun(rows: Sequence[Trial]) -> list[str]:
    return [
        f"{plural(len(rows), 'new trial')} will run, with the same values and the original command. Reruns do not "
        "count toward the budget. Trials that can't be rerun are refused with the reason."
    ]


def _confirm_mark_lost(rows: Sequence[Trial]) -> list[str]:
    return [
        "Use this for a running trial whose worker is stuck. The trial fails as “worker lost” and is retried from the "
        "start while its experiment has retries left. A worker that is still alive ends the process; the results of "
        "this attempt are lost."
    ]


def _rerun(trial: Trial, by: User) -> bool:
    return bool(trial.rerun(by=by))


def _mark_lost(trial: Trial, by: User) -> bool | str:
    """Mark it as lost. Return a warning if it is not retried."""
    if not trial.mark_lost(by=by):
        return False
    if trial.reruns.exists():
        return True
    return f"The trial is {trial.state} and will not be retried: its experiment is stopping or has no retries left."


TRIAL_ACTIONS = (
    row_action("stop", label="Stop", done="Stopping"),
    row_action("rerun", label="Rerun", done="Rerun queued", confirm=_confirm_rerun, run=_rerun),
    row_action(
        "mark_lost", label="Mark as lost", done="Marked as lost", confirm=_confirm_mark_lost, run=_mark_lost
    ),
)


# --- workers ------------------------------------------------------------------------------------------------------


def _confirm_release(rows: Sequence[Worker]) -> list[str]:
    running = Trial.objects.filter(worker__in=rows, state__in=status.TRIAL_ALIVE).count()
    texts = [
        f"{plural(running, 'running trial')} will be marked as lost, and retried from the start on other workers while "
        "the experiments have retries left."
    ]
    for worker in rows:
        if worker.gone_at is None:
            age = duration(database_clock.now() - worker.heard_at)
            texts.append(
                f"Last heartbeat of {worker}: {age} ago. If the worker is still alive, it ends its "
                "processes and restarts. To let them finish first, drain the worker instead."
            )
    return texts


WORKER_ACTIONS = (
    row_action("drain", label="Drain", done="Draining"),
    row_action("undrain", label="Undrain", done="Undrained"),
    row_action("release", label="Release lease", done="Lease released", confirm=_confirm_release),
)
