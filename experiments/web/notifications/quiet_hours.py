"""The quiet hours of a person."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from experiments import database_clock
from experiments.models import Invalid
from experiments.models.notifications.quiet_hours import QuietHours
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from . import page
from .forms import QuietHoursForm


@login_required
@require_POST
@takes()
def save(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Change the quiet hours, in the time zone that the page shows. Messages that no longer need to wait are sent."""
    workspace = get_workspace(request, workspace_slug)
    form = QuietHoursForm(request.POST, label_suffix="")
    if form.is_valid():
        try:
            zone = form.cleaned_data["zone"]
            QuietHours.put(request.user, form.hours(), zone=zone, now=database_clock.now())
        except Invalid as fault:
            for name, sentences in fault.errors.items():
                form.add_error(name, sentences)
    if form.errors:
        return page.draw(request, workspace, page.Editor(quiet_form=form, status=422))
    messages.success(request, "Quiet hours saved." if form.hours() else "Quiet hours turned off.")
    return redirect("notifications", workspace.slug)
