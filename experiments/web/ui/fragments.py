"""A page and its live fragments from one template. The view lists the fragments that a page serves."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection
from typing import Any

from django.http import HttpResponse, HttpResponseNotModified
from django.shortcuts import render
from django.utils.cache import patch_vary_headers
from django_htmx.http import push_url

from experiments.web.ui.requests import SignedInRequest


def minute() -> int:
    """Return the minute. What a page says of times is written anew with it; in between the browser counts on."""
    return int(time.time() // 60)


class Live:
    """One request for a page with live fragments.

    The fragment `view` is a page's filters with what they leave: its address is that of the page from then on.

    `version` is all that the fragments show but times, as one short text: when the browser already has it, nothing is
    rendered. Use: `live = Live(request, fragments={"facts", "rows"}, version=...)`, then
    `if live.is_unchanged: return live.not_modified()`, then `return live.draw(template, context)`.
    """

    def __init__(self, request: SignedInRequest, *, fragments: Collection[str], version: object) -> None:
        self.request = request
        wanted = request.htmx.target if request.htmx else None
        self.fragment = wanted if wanted in fragments else ""
        text = f"{request.get_full_path()} {self.fragment} {request.user.pk} {minute()} {version}"
        self.tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:20]}"'

    @property
    def is_unchanged(self) -> bool:
        """Only fragments are compared: a full page also shows messages and when it was rendered."""
        theirs = self.request.headers.get("If-None-Match", "")
        return bool(self.fragment) and theirs.removeprefix("W/") == self.tag  # weak: it was sent compressed

    def not_modified(self) -> HttpResponse:
        return self._tagged(HttpResponseNotModified())

    def draw(self, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
        """Render the page, or the requested fragment."""
        name = f"{template}#{self.fragment}" if self.fragment else template
        response = self._tagged(render(self.request, name, context, status=status))
        return push_url(response, self._address) if self.fragment == "view" else response

    def send(self, html: str) -> HttpResponse:
        """Return a fragment that is drawn already."""
        return self._tagged(HttpResponse(html))

    @property
    def _address(self) -> str:
        """The address of a filtered view, without the filters that are blank. One that a saved view has is not blank
        by itself."""
        query = self.request.GET.copy()
        for name in [
            name for name, value in query.items() if not value and not (name == "filter" and "view" in query)
        ]:
            del query[name]
        return f"{self.request.path}?{query.urlencode()}" if query else self.request.path

    def _tagged(self, response: HttpResponse) -> HttpResponse:
        if self.fragment:
            response["ETag"] = self.tag
            response["Cache-Control"] = "no-store, private"
        patch_vary_headers(response, ("Cookie",))
        return response
