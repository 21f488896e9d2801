"""Pin an experiment to the reader's Home, and unpin it. Pins are personal."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from experiments.models import Pin
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from .page import back_from, get_experiment, url_of


@login_required
@require_POST
@takes()
def pin(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Pin the experiment, and return to the page."""
    experiment = get_experiment(request, workspace_slug, public_id)
    Pin.put(experiment, by=request.user)
    messages.success(request, "Pinned to Home.")
    return redirect(back_from(request, url_of(experiment)))


@login_required
@require_POST
@takes()
def unpin(request: SignedInRequest, workspace_slug: str, public_id: str) -> HttpResponse:
    """Unpin the experiment, and return to the page."""
    experiment = get_experiment(request, workspace_slug, public_id)
    Pin.remove(experiment, by=request.user)
    messages.success(request, "Unpinned from Home.")
    return redirect(back_from(request, url_of(experiment)))
