"""Turn refusals of the models into pages that say why: 409, 403."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from experiments.models import Forbidden, Overtaken, Refused, SwitchedOff


class Refusals:
    """Render `Refused` (409), `Overtaken` (409: reload) and `Forbidden` (403)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, Forbidden):
            return render(request, "403.html", {"reason": str(error)}, status=403)
        if isinstance(error, SwitchedOff):
            context = {"reason": str(error), "workspace": error.workspace, "nav": "workspace"}
            return render(request, "experiments/off.html", context, status=409)
        if isinstance(error, Refused):
            return render(request, "409.html", {"reason": str(error)}, status=409)
        if isinstance(error, Overtaken):
            sentence = "Someone else changed this first. Reload the page to see its current state."
            return render(request, "409.html", {"reason": sentence}, status=409)
        return None
