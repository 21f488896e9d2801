"""Convert every error response below /api/ to JSON, including those for unknown addresses and methods."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from .errors import error_response

NNI_PATH = re.compile(r"/api/v1/experiments/[^/]+/nni/")


class JsonErrorMiddleware:
    """Converts Django's own error pages to the API's error shape, and errors below nni/ to NNI's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if not request.path_info.startswith("/api/") or response.status_code < 400:
            return response
        if not response.headers["Content-Type"].startswith("application/json"):
            response = _as_json(response)
        if NNI_PATH.match(request.path_info):
            response.content = json.dumps({"error": json.loads(response.content)["detail"]}).encode()
        return response


def _as_json(response: HttpResponse) -> HttpResponse:
    allowed = response.headers.get("Allow")
    if allowed is None:
        return error_response(response.status_code)
    allowed = ", ".join(sorted(allowed.split(", ")))  # django-ninja does not sort them
    converted = error_response(405, f"Method not allowed. Allowed here: {allowed}.")
    converted.status_code = response.status_code
    converted["Allow"] = allowed
    return converted
