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
        return bool(self.fragment) and not self.beside and self._is_same(self.fragment, self._known_tag)

    @property
    def _known_tag(self) -> str:
        """The tag of the fragment that the browser has. Weak, if that was sent compressed."""
        return self.request.headers.get("If-None-Match", "").removeprefix("W/").strip('"')

    def _is_same(self, name: str, tag: str) -> bool:
        version, _, minute_of_tag = tag.partition(".")
        own_version, _, own_minute = self.tag.partition(".")
        is_current = name not in self._clocked or minute_of_tag == own_minute
        return is_current and version.partition("-")[0] == own_version

    def _beside(self, fragments: Collection[str]) -> Iterator[str]:
        """Yield the changed fragments that were requested along with the target."""
        for pair in self.request.headers.get(BESIDE, "").split() if self.fragment else ():
            name, _, tag = pair.partition("=")
            if name in fragments and name != self.fragment and not self._is_same(name, tag):
                yield name

    def not_modified(self) -> HttpResponse:
        known_version, _, _ = self._known_tag.partition(".")
        version, _, minute_of_tag = self.tag.partition(".")
        if known_version.partition("-")[0] == version:  # with the digest of what the browser has
            self.tag = f"{known_version}.{minute_of_tag}"
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

    def send_changed(self, html: str) -> HttpResponse:
        """Return an already rendered fragment if its HTML differs from what the browser has. Otherwise the 304 has the
        new entity tag, so that the next poll need not render it."""
        digest = hashlib.sha256(html.encode()).hexdigest()[:12]
        known_digest = self._known_tag.partition(".")[0].partition("-")[2]
        version, _, minute_of_tag = self.tag.partition(".")
        self.tag = f"{version}-{digest}.{minute_of_tag}"
        return self.not_modified() if self.fragment and digest == known_digest else self.send(html)

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
