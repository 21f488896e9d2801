"""Whatever answers under /api/ answers in JSON: unknown addresses and methods, too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from .error_response import problem

NNI = re.compile(r"/api/v1/experiments/[^/]+/nni/")


class InJson:
    """Puts Django's own error pages into the API's shape, and below nni/ all errors into NNI's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        answer = self._answer(request)
        if answer.status_code < 400 or not NNI.match(request.path_info):
            return answer
        answer.content = json.dumps({"error": json.loads(answer.content)["detail"]})
        return answer

    def _answer(self, request: HttpRequest) -> HttpResponse:
        answer = self.get_response(request)
        if not request.path_info.startswith("/api/"):
            return answer
        if answer.status_code < 400 or answer.headers["Content-Type"].startswith("application/json"):
            return answer
        told = problem(answer.status_code)
        if "Allow" in answer:
            told["Allow"] = answer["Allow"]
            told.content = problem(405, f"Here only {answer['Allow']} can be used.").content
        return told
