"""A page and its live fragments from one template. The view lists the fragments that a page serves."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterator
from typing import Any

from django.http import HttpResponse, HttpResponseNotModified
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django_htmx.http import push_url

from experiments.web.ui.requests import SignedInRequest

BESIDE = "Live-With"  # header: the fragments requested along with the target, separated by spaces


def minute() -> int:
    """Return the current minute, as a version part that renders estimates again each minute."""
    return int(time.time() // 60)


class Live:
    """A request for a page with live fragments. The fragment `view` contains a page's filters and the filtered rows:
    when it is requested, its URL becomes the page's.

    `version` is a short text that changes with everything that the fragments show, except times: if the browser already
    has it, nothing is rendered. The browser updates ages; `clocked` are fragments with estimates, which the server
    renders again each minute. Use: `live = Live(request, fragments={"facts", "rows"}, version=...)`, then `if
    live.is_unchanged: return live.not_modified()`, then `return live.draw(template, context)`.

    One request fetches all fragments of a page that are due: one as the target, and the others in its header
    `Live-With`, as `name=tag`. Unchanged ones of the latter are left out.
    """

    def __init__(
        self,
        request: SignedInRequest,
        *,
        fragments: Collection[str],
        version: object,
        clocked: Collection[str] = (),
    ) -> None:
        self.request = request
        target = (request.htmx.target or "") if request.htmx else ""
        self.fragment = target if target in fragments else ""
        self._clocked = clocked
        # Times of today are written without a date, so the date is part of the version.
        reader = f"{request.user.pk} {timezone.get_current_timezone_name()} {timezone.localdate()}"
        text = f"{request.get_full_path()} {reader} {version}"
        self.tag = f"{hashlib.sha256(text.encode()).hexdigest()[:20]}.{minute()}"
        self.beside = list(dict.fromkeys(self._beside(fragments)))
        self._shown = {self.fragment, *self.beside} if self.fragment else set(fragments)

    def shows(self, *names: str) -> bool:
        """Return whether one of these fragments is rendered: as a part of the page, or because it was requested."""
        return not self._shown.isdisjoint(names)

    @property
    def is_unchanged(self) -> bool:
        """Only fragments are compared: a full page also shows messages and when it was rendered."""
        request_etag = self.request.headers.get("If-None-Match", "").removeprefix(
            "W/"
        )  # weak, because it was sent compressed
        return (
            bool(self.fragment) and not self.beside and self._is_same(self.fragment, request_etag.strip('"'))
        )

    def _is_same(self, name: str, tag: str) -> bool:
        if name in self._clocked:
            return tag == self.tag
        return tag.partition(".")[0] == self.tag.partition(".")[0]

    def _beside(self, fragments: Collection[str]) -> Iterator[str]:
        """Yield the changed fragments that were requested along with the target."""
        for pair in self.request.headers.get(BESIDE, "").split() if self.fragment else ():
            name, _, tag = pair.partition("=")
            if name in fragments and name != self.fragment and not self._is_same(name, tag):
                yield name

    def not_modified(self) -> HttpResponse:
        return self._tagged(HttpResponseNotModified())

    def draw(self, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
        """Render the page, or the requested fragment."""
        name = f"{template}#{self.fragment}" if self.fragment else template
        context = {**context, "live_tag": self.tag}
        response = self._tagged(render(self.request, name, context, status=status))
        for beside in self.beside:
            html = render_to_string(f"{template}#{beside}", {**context, "is_beside": True}, self.request)
            response.write(html)
        return push_url(response, self._address) if self.fragment == "view" else response

    def send(self, html: str) -> HttpResponse:
        """Return an already rendered fragment, with its entity tag."""
        return self._tagged(HttpResponse(html.replace('data-tag=""', f'data-tag="{self.tag}"', 1)))

    @property
    def _address(self) -> str:
        """The URL of a filtered view, without blank filters, except a blank that overrides a saved view's filter."""
        query = self.request.GET.copy()
        for name in [
            name for name, value in query.items() if not value and not (name == "filter" and "view" in query)
        ]:
            del query[name]
        return f"{self.request.path}?{query.urlencode()}" if query else self.request.path

    def _tagged(self, response: HttpResponse) -> HttpResponse:
        if self.fragment:
            response["ETag"] = f'"{self.tag}"'
            response["Cache-Control"] = "no-store, private"
        patch_vary_headers(response, ("Cookie",))
        return response
