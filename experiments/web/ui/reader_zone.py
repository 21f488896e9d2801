"""The reader's time zone: that of the account, or else that of the browser."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from experiments.timetable.zones import zone_names

COOKIE = "tz"  # written by static/js/zone.js


class ReaderZone:
    """Activate the reader's time zone for one request. Files are streamed after the request, so their instants are in
    UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if name := _name(request):
            timezone.activate(ZoneInfo(name))
        try:
            return self.get_response(request)
        finally:
            timezone.deactivate()


def browser_zone(request: HttpRequest) -> str:
    """Return the name of the browser's time zone; empty if it was not sent or is unknown."""
    name = request.COOKIES.get(COOKIE, "")
    return name if name in zone_names() else ""


def _name(request: HttpRequest) -> str:
    own: str = getattr(request.user, "time_zone", "")
    return own if own in zone_names() else browser_zone(request)
