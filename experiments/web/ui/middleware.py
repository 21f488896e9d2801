"""Turn refusals of the models into pages that say why: 409, 403."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.http import HttpResponseClientRedirect

from experiments.models import Forbidden, Overtaken, Refused, SwitchedOff
from experiments.web.ui.requests import HtmxRequest


class Htmx:
    """What htmx needs of every answer: a redirect that the browser follows, and caches that tell its requests apart."""

    def __init__(self, get_response: Callable[[HtmxRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HtmxRequest) -> HttpResponse:
        response = self.get_response(request)
        patch_vary_headers(response, ("HX-Request", "HX-Target"))
        if request.htmx and "Location" in response:
            return _followed_by_the_browser(request, response)
        return response


def _followed_by_the_browser(request: HtmxRequest, response: HttpResponse) -> HttpResponse:
    """Without this, htmx would see the page behind the redirect only, and swap that into its target."""
    url = response["Location"]
    followed = HttpResponseClientRedirect(url)
    followed.cookies = response.cookies
    if url.split("#")[0] == (request.htmx.current_url_abs_path or "").split("#")[0]:
        followed["HX-Refresh"] = "true"  # an address that differs in its fragment alone loads nothing
    return followed


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
