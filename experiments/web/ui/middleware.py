"""Middleware: error pages for refused actions (409, 403, 405), caching, compression, request times, htmx."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable

import brotli
from django.conf import settings
from django.core.exceptions import MiddlewareNotUsed
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import render
from django.urls import Resolver404, resolve, reverse
from django.utils.cache import patch_vary_headers
from django_htmx.http import (
    HttpResponseClientRedirect,
    HttpResponseStopPolling,
    reswap,
    retarget,
    trigger_client_event,
)

from experiments import histograms
from experiments.models import Forbidden, Overtaken, Refused, SwitchedOff
from experiments.web.ui.requests import HtmxRequest

TAKES_BROTLI = re.compile(r"\bbr\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))")
MIN_COMPRESSED = 200  # bytes, as in Django
BROTLI_QUALITY = 5  # as fast as gzip, and a fifth smaller
FAST_QUALITY = 4  # for charts: takes about a third of the time of 5, and is a seventh larger
MOST_BLOCKS = 4
COMPRESSED_TYPES = ("application/json", "application/problem+json", "image/svg+xml")
UNTIMED = ("/healthz", "/readyz", "/metrics")


class Private:
    """Forbid proxies and browsers to cache responses, except responses that allow it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Cache-Control", "private, no-store")
        return response


class Timed:
    """Record the durations of requests if there is a token for `GET /metrics`, except those of health checks, whose
    rate is configured elsewhere."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if not settings.METRICS_TOKEN:
            raise MiddlewareNotUsed
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.monotonic()
        response = self.get_response(request)
        if request.path not in UNTIMED:
            is_htmx = request.headers.get("HX-Request") == "true"
            kind = "api" if request.path.startswith("/api/") else "fragment" if is_htmx else "page"
            histograms.REQUEST.observe(time.monotonic() - began, kind, f"{response.status_code // 100}xx")
        return response


class Compressed(GZipMiddleware):
    """Compress complete text responses. Streamed responses are files, whose size and ranges must not change.

    Use Brotli if the browser accepts it, because its output is a fifth smaller. So that the compressed size does not
    reveal secrets in a page (BREACH), Django masks CSRF tokens anew in each page, and the size varies randomly by some
    bytes: Django adds random bytes to gzip's output, and Brotli's blocks end at random places.
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        kind = response.get("Content-Type", "").partition(";")[0]
        if not isinstance(response, HttpResponse) or not (
            kind.startswith("text/") or kind in COMPRESSED_TYPES
        ):
            return response
        if len(response.content) < MIN_COMPRESSED or response.has_header("Content-Encoding"):
            return response
        if not TAKES_BROTLI.search(request.META.get("HTTP_ACCEPT_ENCODING", "")):
            return super().process_response(request, response)
        patch_vary_headers(response, ("Accept-Encoding",))
        quality = FAST_QUALITY if getattr(response, "is_compressed_fast", False) else BROTLI_QUALITY
        response.content = _brotli(response.content, quality)
        response["Content-Length"] = str(len(response.content))
        response["Content-Encoding"] = "br"
        if (tag := response.get("ETag", "")).startswith('"'):
            response["ETag"] = f"W/{tag}"
        return response


def compressed_fast(response: HttpResponse) -> HttpResponse:
    """Have a response compressed quickly, because it consists of hundreds of kilobytes of markup."""
    response.is_compressed_fast = True  # type: ignore[attr-defined]
    return response


def _brotli(text: bytes, quality: int) -> bytes:
    """Compress in blocks that end at random places, so that the size varies by some bytes."""
    compressor = brotli.Compressor(mode=brotli.MODE_TEXT, quality=quality)
    parts, begin = [], 0
    for end in sorted(secrets.randbelow(len(text) + 1) for _ in range(secrets.randbelow(MOST_BLOCKS))):
        parts += [compressor.process(text[begin:end]), compressor.flush()]
        begin = end
    return b"".join([*parts, compressor.process(text[begin:]), compressor.finish()])


class Htmx:
    """Adapt every response for htmx: redirects that the browser follows, and a Vary header for caches."""

    def __init__(self, get_response: Callable[[HtmxRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HtmxRequest) -> HttpResponse:
        response = self.get_response(request)
        patch_vary_headers(response, ("HX-Request", "HX-Target"))
        if request.htmx and _is_lost(request, response):
            return _unavailable_notice(request)
        if request.htmx and "Location" in response:
            if request.htmx.target is None and _is_shown(request, response["Location"]):
                return _done_in_place(request, response)
            return _browser_redirect(request, response)
        return response


def _is_lost(request: HtmxRequest, response: HttpResponse) -> bool:
    """Return whether a polling fragment is no longer available: signed out, deleted, or no longer visible to the
    user."""
    asks_itself = request.htmx.target is not None and request.htmx.target == request.htmx.trigger
    return asks_itself and ("Location" in response or response.status_code in (403, 404))


def _unavailable_notice(request: HtmxRequest) -> HttpResponse:
    """Return a notice above the otherwise unchanged page, so that reading or typing is not interrupted."""
    response = render(request, "components/no_longer_live.html", status=HttpResponseStopPolling.status_code)
    return reswap(retarget(response, "#live-over"), "innerHTML")


def _is_shown(request: HtmxRequest, url: str) -> bool:
    """Return whether the browser already shows this page."""
    return url.split("#")[0] == (request.htmx.current_url_abs_path or "").split("#")[0]


def _done_in_place(request: HtmxRequest, response: HttpResponse) -> HttpResponse:
    """Return the messages, and make the page's fragments refresh. Without a reload, readers keep their place."""
    done = render(request, "components/done.html")
    done.cookies = response.cookies
    return trigger_client_event(done, "changed")


def _browser_redirect(request: HtmxRequest, response: HttpResponse) -> HttpResponse:
    """Make the browser follow the redirect; otherwise, htmx would swap the page behind it into its target."""
    url = response["Location"]
    followed = HttpResponseClientRedirect(url)
    followed.cookies = response.cookies
    if _is_shown(request, url):
        followed["HX-Refresh"] = "true"  # the browser does not load a URL that differs only in its fragment
    return followed


class Refusals:
    """Render `Refused` (409), `Overtaken` (409: reload), `Forbidden` (403) and methods that are not allowed (405)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code == 405 and not request.path_info.startswith("/api/"):
            page = render(request, "405.html", {"back": _parent_page(request)}, status=405)
            page["Allow"] = response.headers.get("Allow", "")
            return page
        return response

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


def _parent_page(request: HttpRequest) -> str:
    """Return the URL of the nearest page above: of the experiment for one of its actions."""
    path = request.path_info.rstrip("/")
    while path := path.rpartition("/")[0]:
        try:
            match = resolve(f"{path}/")
        except Resolver404:
            continue
        if match.namespace != "api":
            return f"{path}/"
    return reverse("home")
