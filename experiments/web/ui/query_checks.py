"""Validation of the query parameters of pages: a view declares its own; others cause an error message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase

from experiments.query_parameters import Parameter, choice, faults

View = TypeVar("View", bound=Callable[..., HttpResponseBase])

PAGES = "experiments.web."  # views in these modules take no parameters unless they declare them
OF_EVERY_PAGE = {"live": choice("off")}


def takes(parameters: Mapping[str, Parameter] | None = None, /, **more: Parameter) -> Callable[[View], View]:
    """Declare the query parameters of a view. Place it below `login_required` and similar decorators, which copy the
    declaration."""

    def declare(view: View) -> View:
        view.query_parameters = {**(parameters or {}), **more}  # type: ignore[attr-defined]
        return view

    return declare


def note_fault(request: HttpRequest, name: str, sentence: str) -> None:
    """Add a fault that only the view can see, for example a sort by a parameter that the experiment does not have."""
    faults_of(request).setdefault(name, sentence)


def faults_of(request: HttpRequest) -> dict[str, str]:
    """Return the faults so far, by the name of the parameter."""
    return request.__dict__.setdefault("query_faults", {})


class QueryChecks:
    """Return 400 for unknown parameters and invalid values. A page shows the messages, and its content without these
    parameters; instead of a file, only the messages are returned."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        query_faults = request.__dict__.get("query_faults")
        if not query_faults or response.status_code not in (200, 206):
            return response
        if response.headers.get("Content-Type", "").startswith("text/html"):
            if request.htmx:  # type: ignore[attr-defined]
                return response
            if _has_head(response):
                response.status_code = 400
                return response
        refusal = _refusal(response, query_faults)
        # Close the response's files. Calling close() would also signal the end of the request to Django.
        refusal._resource_closers += response._resource_closers  # type: ignore[attr-defined]
        return refusal

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: object, kwargs: object
    ) -> None:
        declared = getattr(view, "query_parameters", None)
        is_page = view.__module__.startswith(PAGES) and not hasattr(view, "view_class")
        if request.method in ("GET", "HEAD") and (declared is not None or is_page):
            faults_of(request).update(faults(request.GET, {**(declared or {}), **OF_EVERY_PAGE}))


def _has_head(response: HttpResponseBase) -> bool:
    """Return whether the response is a full page, which shows the messages, and not a fragment."""
    return isinstance(response, HttpResponse) and b"<html" in response.content[:500]


def _refusal(response: HttpResponseBase, query_faults: Mapping[str, str]) -> HttpResponse:
    sentences = " ".join(query_faults.values())
    if response.headers.get("Content-Type", "").startswith("application/json"):
        fields = {name: [sentence] for name, sentence in query_faults.items()}
        return JsonResponse(
            {"error": "bad_request", "detail": sentences, "fields": fields},
            status=400,
            json_dumps_params={"ensure_ascii": False},
        )
    return HttpResponse(f"{sentences}\n", status=400, content_type="text/plain; charset=utf-8")
