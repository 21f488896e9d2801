"""The page of an experiment's schedule: due times, the result of the last one, pause and remove."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from experiments import database_clock
from experiments.models import Experiment, Invalid, Overlap, Schedule, User
from experiments.permissions import require
from experiments.timetable import cron, zones
from experiments.timetable.zones import TimetableError
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from .forms.sections import text_input
from .page import get_experiment, url_of

SHOWN = 5  # due times


class ScheduleForm(forms.Form):
    """The cron expression, its time zone, and what happens while the last clone is active."""

    cron = forms.CharField(
        label="Cron expression",
        max_length=200,
        widget=text_input("0 2 * * 1-5", "is-mono"),
        help_text="Minute, hour, day of month, month, day of week; or @daily, @weekly, @monthly.",
        error_messages={"required": "Enter a cron expression, for example 0 2 * * 1-5."},
    )
    time_zone = forms.CharField(
        required=False,
        max_length=64,
        label="Time zone",
        widget=text_input("Europe/Berlin"),
        help_text="Blank = UTC.",
    )
    overlap = forms.ChoiceField(
        label="If the previous run is active", choices=Overlap.choices, initial=Overlap.SKIP, required=False
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def edit(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """GET shows the schedule to operators; POST saves, pauses, resumes or removes it."""
    experiment = get_experiment(request, workspace_slug, public_id)
    require(request.user, "schedule", experiment)
    row = Schedule.objects.filter(experiment=experiment).select_related("by", "last_clone").first()
    if request.method != "POST":
        return _draw(request, experiment, row, ScheduleForm(initial=_initial(row), label_suffix=""))
    if row and "change" in request.POST:
        messages.success(request, _change(row, request.POST["change"], request.user))
        return redirect(url_of(experiment))
    form = ScheduleForm(request.POST, label_suffix="")
    if form.is_valid():
        values = form.cleaned_data
        try:
            saved = Schedule.put(
                experiment,
                by=request.user,
                cron=values["cron"],
                time_zone=values["time_zone"].strip() or "UTC",
                overlap=values["overlap"] or Overlap.SKIP,
            )
        except Invalid as invalid:
            for name, sentences in invalid.errors.items():
                form.add_error(name, sentences)
        else:
            messages.success(request, f"Scheduled. Next run: {local(saved)}.")
            return redirect(url_of(experiment))
    return _draw(request, experiment, row, form)


def _change(row: Schedule, change: str, user: User) -> str:
    """Perform the action of a button, and return the message."""
    if change == "pause":
        return "Schedule paused." if row.pause(by=user) else "The schedule is already paused."
    if change == "unpause":
        return (
            f"Schedule resumed. Next run: {local(row)}."
            if row.unpause(by=user)
            else "The schedule is already active."
        )
    return (
        "Schedule removed. Its clones are kept."
        if row.remove(by=user)
        else "The schedule is already removed."
    )


def _initial(row: Schedule | None) -> dict[str, str]:
    if row is None:
        return {"time_zone": timezone.get_current_timezone_name()}
    return {"cron": row.cron, "time_zone": row.time_zone, "overlap": row.overlap}


def local(row: Schedule) -> str:
    """Return the next due time by clocks of the schedule's time zone: `Mon 30 Nov 02:00 Europe/Berlin`."""
    return "paused" if row.next_at is None else _clock(row.next_at, row.time_zone)


def _clock(instant: Any, zone_name: str) -> str:
    local_time = instant.astimezone(zones.zone(zone_name))
    return f"{local_time:%a} {local_time.day} {local_time:%b %H:%M} {zone_name}"


def _draw(
    request: SignedInRequest, experiment: Experiment, row: Schedule | None, form: ScheduleForm
) -> HttpResponse:
    context = {
        "experiment": experiment,
        "workspace": experiment.workspace,
        "nav": "experiments",
        "form": form,
        "form_action": request.path,
        "back": url_of(experiment),
        "schedule": row,
        "is_wide": True,
        "times": _times(form),
        "zone": form["time_zone"].value() or "UTC",
    }
    return render(request, "experiment/schedule.html", context, status=422 if form.errors else 200)


def _times(form: ScheduleForm) -> list[str]:
    """Return the next due times of the form's values; none while they are invalid."""
    expression, zone_name = str(form["cron"].value() or ""), str(form["time_zone"].value() or "UTC").strip()
    try:
        canonical = cron.canonical(expression)
        times = cron.next_times(canonical, zones.zone(zone_name).key, database_clock.now(), SHOWN)
    except TimetableError:
        return []
    return [_clock(instant, zone_name) for instant in times]
