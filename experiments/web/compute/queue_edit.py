"""Create and edit a queue: name, access, fair share."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from experiments.models import Invalid, Queue, Worker
from experiments.permissions import require_administrator
from experiments.web.ui.requests import SignedInRequest

from .queue_forms import QueueForm
from .queues import get_queue


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: SignedInRequest) -> HttpResponse:
    """An administrator creates a queue."""
    require_administrator(request.user)
    if request.method != "POST":
        return _draw_form(request, QueueForm())
    form = QueueForm(request.POST)
    if form.is_valid():
        try:
            with transaction.atomic():
                queue = Queue.create(form.cleaned_data["name"], by=request.user, **form.grant())
                queue.share(by=request.user, **form.share())
        except Invalid as invalid:
            _add_errors(form, invalid)
        else:
            messages.success(request, f"Queue {queue} created. Start a worker that serves this queue.")
            return redirect("queue", queue.name)
    return _draw_form(request, form, status=422)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: SignedInRequest, queue_name: str) -> HttpResponse:
    """Change name, access and fair share, in one transaction."""
    queue = get_queue(request, queue_name)
    require_administrator(request.user)
    if request.method != "POST":
        return _draw_form(request, QueueForm(queue=queue), queue=queue)
    form = QueueForm(request.POST, queue=queue)
    if form.is_valid():
        try:
            with transaction.atomic():
                changed = [
                    queue.rename(form.cleaned_data["name"], by=request.user),
                    not queue.is_default and queue.grant(by=request.user, **form.grant()),
                    queue.share(by=request.user, **form.share()),
                ]
        except Invalid as invalid:
            _add_errors(form, invalid)
        else:
            messages.success(request, f"Queue {queue} saved." if any(changed) else "No changes to save.")
            return redirect("queue", queue.name)
    return _draw_form(request, form, queue=queue, name=queue_name, status=422)


def _add_errors(form: QueueForm, invalid: Invalid) -> None:
    for field, sentences in invalid.errors.items():
        form.add_error(field if field in form.fields else None, sentences)


def _draw_form(
    request: SignedInRequest,
    form: QueueForm,
    *,
    queue: Queue | None = None,
    name: str = "",
    status: int = 200,
) -> HttpResponse:
    worker_count = 0
    if queue:
        queue.name = name or queue.name  # a rejected rename must not look saved
        worker_count = sum(queue.name in worker.queues for worker in Worker.objects.present())
    context = {"nav": "queues", "queue": queue, "form": form, "worker_count": worker_count}
    return render(request, "queues/edit.html", context, status=status)
