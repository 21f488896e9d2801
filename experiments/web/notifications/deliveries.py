"""Send a delivery again."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from experiments.models import Delivery
from experiments.permissions import may
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace


@login_required
@require_POST
@takes()
def send(request: SignedInRequest, workspace_slug: str, delivery_pk: int) -> HttpResponse:
    """Retry now: a failed message, or one that waits for its next attempt."""
    workspace = get_workspace(request, workspace_slug)
    is_owner = may(request.user, "manage", workspace)
    visible = Delivery.objects.visible_to(request.user, workspace, is_owner=is_owner)
    delivery = visible.filter(pk=delivery_pk).first()
    if delivery is None:
        raise Http404
    delivery.send_again()
    messages.success(request, "The message will be sent again.")
    return redirect(f"{reverse('notifications', args=[workspace.slug])}#deliveries")
