"""Reject unknown query parameters: ignoring them would return rows that the caller did not ask for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja.operation import Operation

from experiments.query_parameters import Parameter, faults, text, texts

from .errors import BadRequest

ANY = "nni/"  # prefix of NNI's own endpoints, with NNI's parameters


def note_parameters(run: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Keep the parameters of the endpoint for `check`, which runs behind authentication and validation."""
    allowed = _parameters(run.__self__)  # type: ignore[attr-defined]

    @wraps(run)
    def noting(request: HttpRequest, **arguments: Any) -> HttpResponseBase:
        request.__dict__["query_parameters"] = allowed
        return run(request, **arguments)

    return noting


def check(request: HttpRequest) -> None:
    """Raise `BadRequest` with each parameter that is unknown or occurs twice."""
    allowed = request.__dict__.get("query_parameters")
    query_faults = faults(request.GET, allowed) if allowed is not None else {}
    if query_faults:
        raise BadRequest(fields=query_faults)


def _parameters(operation: Operation) -> dict[str, Parameter] | None:
    if ANY in operation.path:
        return None
    allowed: dict[str, Parameter] = {}
    for model in operation.models:
        if model.__ninja_param_source__ == "query":
            lists = set(model.__ninja_collection_fields__)
            names = model.__ninja_flatten_map__
            allowed |= {name: texts() if name in lists else text() for name in names}
    return allowed
