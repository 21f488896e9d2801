"""The list "Needs attention" on Home and the wall: a row for each cause, which each user can dismiss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from experiments.filters.experiment_lists import needing_attention
from experiments.messages import failed_heading, failures_of, plural, set_best_decimals
from experiments.models import Dismissal, Experiment, ExperimentState, User, Worker, status
from experiments.models.experiment.queryset import ExperimentQuerySet
from experiments.runner.machine import full_disk_percent
from experiments.scheduler.wait_reasons import Compute
from experiments.web.experiment.page import url_of
from experiments.web.ui import descriptions
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

LOADED = 30  # experiments that are grouped by cause; further ones are only counted
SHOWN = 5  # rows of experiments
DAY = timedelta(hours=24)


@dataclass(frozen=True)
class Need:
    """A worker, experiment or cause that needs a user's action. `heard_at` is the last heartbeat of a silent worker.
    `others` have the same cause. `keys` identify it in a dismissal."""

    key: str
    glyph: str
    state: str  # the color of the mark
    heading: str
    name: str
    url: str
    detail: str
    action: str
    heard_at: datetime | None = None
    others: list[Need] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        return [self.key, *(other.key for other in self.others)]


@dataclass(frozen=True)
class Needs:
    """The visible rows; the number of experiments and workers that need attention, visible or not; and the number that
    the reader has dismissed."""

    rows: list[Need]
    count: int
    dismissed: int

    @property
    def more(self) -> int:
        return self.count - sum(len(row.keys) for row in self.rows)


def dismissals(user: User) -> dict[str, datetime]:
    """Return the times of a user's dismissals by key. One query."""
    return dict(Dismissal.objects.filter(user=user).values_list("key", "at"))


def needs(
    seen: ExperimentQuerySet,
    compute: Compute,
    workers: Sequence[Worker],
    now: datetime,
    dismissed: dict[str, datetime] | None = None,
) -> Needs:
    """Return what needs attention: workers, then the latest experiments. Dismissed rows are left out until their cause
    occurs again: the experiment changes, the worker is lost again after a heartbeat, or a day has passed."""
    at = dismissed or {}
    late = [worker for worker in workers if descriptions.is_late(worker, now)]
    full = [worker for worker in workers if full_disk_percent(worker.machine)]
    by_worker: list[tuple[Need, datetime]] = []
    if late:
        by_worker.append((_unresponsive(late, compute), max(worker.heard_at for worker in late)))
    if full:
        by_worker.append((_disk_full(full), now - DAY))
    if compute.losing:
        by_worker.append((_losing(compute), now - DAY))
    hidden = [need for need, since in by_worker if need.key in at and at[need.key] >= since]
    rows = [need for need, _ in by_worker if need not in hidden]
    columns = ("pk", "public_id", "updated_at")
    needing = list(seen.filter(needing_attention()).order_by("-updated_at", "-pk").values_list(*columns))
    keys = [pk for pk, key, updated_at in needing if key not in at or at[key] < updated_at]
    grouped = _grouped([_row_of(experiment, compute) for experiment in load_rows(keys[:LOADED])])
    return Needs([*rows, *grouped[:SHOWN]], len(keys) + len(rows), len(needing) - len(keys) + len(hidden))


def load_rows(keys: list[int]) -> list[Experiment]:
    """Return these experiments in the given order, with everything that a table row shows. Loaded by key, because
    sorting complete rows is far slower than sorting keys.
    """
    rows = Experiment.objects.select_related("workspace", "project", "creator", "queue")
    by_key = rows.defer("description", "properties").in_bulk(keys)
    set_best_decimals(by_key.values())
    return [by_key[key] for key in keys if key in by_key]


def _grouped(rows: list[Need]) -> list[Need]:
    """Return one row per heading, with the other rows of that heading in it, in the order of first occurrence."""
    groups: dict[str, list[Need]] = {}
    for need in rows:
        groups.setdefault(need.heading, []).append(need)
    return [replace(first, others=others) for first, *others in groups.values()]


@login_required
@require_POST
@takes()
def dismiss(request: SignedInRequest) -> HttpResponse:
    """Hide the rows with these keys for this user until their cause occurs again; without keys, show dismissed rows
    again."""
    keys = request.POST.getlist("need")
    if keys:
        Dismissal.put(request.user, keys)
        messages.success(request, "Dismissed until it happens again.")
    else:
        Dismissal.objects.filter(user=request.user).delete()
    return_url = request.POST.get("here", "")
    is_ours = url_has_allowed_host_and_scheme(return_url, allowed_hosts={request.get_host()})
    return redirect(return_url if is_ours else reverse("home"))


def _unresponsive(late: list[Worker], compute: Compute) -> Need:
    running = plural(sum(compute.busy.get(worker.pk, 0) for worker in late), "running trial")
    heard_at = max(worker.heard_at for worker in late)
    heading, name, url = "Worker unresponsive", late[0].name, reverse("worker", args=[late[0].name])
    if len(late) > 1:
        heading, name, url = f"{len(late):,} workers unresponsive", "Workers", reverse("workers")
    action = "View worker" if len(late) == 1 else "View workers"
    return Need("unresponsive", "warning", "paused", heading, name, url, running, action, heard_at=heard_at)


def _losing(compute: Compute) -> Need:
    first, *further_workers = (worker for worker in compute.workers if worker.pk in compute.losing)
    more = len(further_workers)
    detail = f"{plural(sum(compute.losing.values()), 'trial')} lost in the last hour"
    detail += (
        f", also by {plural(more, 'more worker')}" if more else ": it or its connection fails repeatedly"
    )
    url = reverse("worker", args=[first.name])
    return Need("losing", "warning", "paused", "Trials lost", first.name, url, detail, "View worker")


def _disk_full(full: list[Worker]) -> Need:
    first, more = full[0], len(full) - 1
    detail = f"{full_disk_percent(first.machine)}% full, so no trials start"
    if more:
        detail += f"; the same on {plural(more, 'more worker')}"
    url = reverse("worker", args=[first.name])
    return Need(
        "disk", "warning", "paused", "Disk full", f"Disk of worker {first.name}", url, detail, "View worker"
    )


def _row_of(experiment: Experiment, compute: Compute) -> Need:
    glyph, role = status.EXPERIMENT_STATES[experiment.state].glyph, experiment.state
    if failures_of(experiment):
        glyph = role = "warning"
    heading, detail, action = {
        ExperimentState.FAILED: (failed_heading(experiment), experiment.reason, "View cause"),
        ExperimentState.COMPLETED: ("Trials failed", failures_of(experiment), "View failures"),
        ExperimentState.PAUSED: ("Auto-paused", experiment.reason, "View cause"),
    }.get(experiment.state) or (
        "Stuck in queue",
        descriptions.hold_text(compute.hold(experiment), experiment),
        "View experiment",
    )
    return Need(
        experiment.public_id,
        glyph,
        role,
        heading,
        experiment.name,
        url_of(experiment),
        detail,
        action,
    )
