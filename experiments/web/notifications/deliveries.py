"""Deliveries: the table as a file; send one again."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import Http404, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from experiments.models import Delivery
from experiments.permissions import may
from experiments.query_parameters import choice
from experiments.web.exports import each
from experiments.web.table_files import table_file
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from .page import RESULTS

COLUMNS = (
    "created_at", "event", "subject", "experiment", "channel", "channel_kind", "rule", "status", "attempts", "error",
    "next_at", "sent_at", "message_id",
)  # fmt: skip


@login_required
@require_safe
@takes(result=choice(*(word for word, *_ in RESULTS if word)))
def file(request: SignedInRequest, workspace_slug: str, kind: str) -> StreamingHttpResponse:
    """Send the deliveries that the page lists, without their texts: those of the person's channels and, for owners, of
    the workspace's."""
    workspace = get_workspace(request, workspace_slug)
    is_owner = may(request.user, "manage", workspace)
    result = request.GET.get("result", "")
    condition = next((condition for word, _, _, condition in RESULTS if word == result), Q())
    rows = Delivery.objects.visible_to(request.user, workspace, is_owner=is_owner).filter(condition)
    return table_file(kind, name=f"{workspace.slug}-deliveries", columns=COLUMNS, rows=_file_rows(rows))


def _file_rows(deliveries: QuerySet[Delivery]) -> Iterator[tuple[object, ...]]:
    related = deliveries.select_related("channel", "rule", "experiment").order_by("-pk")
    for delivery in each(related.defer("text", "payload", "tries")):
        yield (
            delivery.created_at,
            delivery.kind,
            delivery.subject,
            delivery.experiment.public_id if delivery.experiment else None,
            delivery.channel.name,
            delivery.channel.kind,
            delivery.rule_id,
            delivery.label.lower(),
            delivery.attempts,
            delivery.error,
            delivery.next_at,
            delivery.sent_at,
            str(delivery.message_id),
        )


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
