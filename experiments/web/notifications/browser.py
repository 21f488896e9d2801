"""The count of unseen messages in the browser tab of open pages."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from experiments import database_clock
from experiments.models import Delivery
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

MOST = 99


@login_required
@require_POST
@takes()
def unseen(request: SignedInRequest) -> HttpResponse:
    """Return the number of messages that the user has not seen, and the tab's icon. `is_looking=true`, from a page that
    is visible, marks all as seen."""
    messages = Delivery.unseen_by(request.user)
    if request.POST.get("is_looking") == "true":
        messages.update(seen_at=database_clock.now())
    return render(request, "notifications/_unseen.html", {"count": messages[:MOST].count()})
