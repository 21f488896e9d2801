"""A queue is made, and changed: name, grants, fair share."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from experiments.models import Invalid, Queue, Worker
from experiments.permissions import require_administrator

from .queue_forms import QueueForm
from .queues import find


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """An administrator makes a queue."""
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
            _complain(form, invalid)
        else:
            messages.success(request, f"The queue {queue} is there. Start a worker that serves it.")
            return redirect("queue", queue.name)
    return _draw_form(request, form, status=422)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, queue: str) -> HttpResponse:
    """Rename, grants and fair share: all of it, or nothing."""
    found = find(request, queue)
    require_administrator(request.user)
    if request.method != "POST":
        return _draw_form(request, QueueForm(queue=found), queue=found)
    form = QueueForm(request.POST, queue=found)
    if form.is_valid():
        try:
            with transaction.atomic():
                changed = [
                    found.rename(form.cleaned_data["name"], by=request.user),
                    not found.is_default and found.grant(by=request.user, **form.grant()),
                    found.share(by=request.user, **form.share()),
                ]
        except Invalid as invalid:
            _complain(form, invalid)
        else:
            said = f"The queue {found} is changed." if any(changed) else "Nothing was different."
            messages.success(request, said)
            return redirect("queue", found.name)
    return _draw_form(request, form, queue=found, name=queue, status=422)


def _complain(form: QueueForm, invalid: Invalid) -> None:
    for field, sentences in invalid.errors.items():
        form.add_error(field if field in form.fields else None, sentences)


def _draw_form(
    request: HttpRequest, form: QueueForm, *, queue: Queue | None = None, name: str = "", status: int = 200
) -> HttpResponse:
    served = 0
    if queue:
        queue.name = name or queue.name  # a refused rename must not look done
        served = sum(queue.name in worker.queues for worker in Worker.objects.present())
    context = {"nav": "queues", "queue": queue, "form": form, "served": served}
    return render(request, "queues/edit.html", context, status=status)
