"""The count of unread messages that open pages show in the browser tab."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import JsonResponse
from django.views.decorators.http import require_http_methods

from experiments import database_clock
from experiments.models import Delivery
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

MOST = 99


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def unseen(request: SignedInRequest) -> JsonResponse:
    """Return the number of messages that the person has not seen, and the subject of the latest; POST marks all as
    seen."""
    rows = Delivery.unseen_by(request.user)
    if request.method == "POST":
        rows.update(seen_at=database_clock.now())
        return JsonResponse({"count": 0, "latest": ""})
    subjects = list(rows.order_by("-pk").values_list("subject", flat=True)[:MOST])
    return JsonResponse({"count": len(subjects), "latest": subjects[0] if subjects else ""})
