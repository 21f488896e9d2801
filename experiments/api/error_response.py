"""The one shape of every error: {"error": word, "detail": sentence, "fields": {name: [sentence]}}."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import JsonResponse

WORDS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "refused",
    416: "out_of_range",
    422: "invalid",
    429: "too_many_requests",
    500: "internal_error",
    503: "unavailable",
}
DETAILS = {
    400: "This request cannot be read.",
    404: "There is nothing here that you can see. Check the address.",
    405: "This address does not know this method.",
    500: "Something went wrong in Trialdeck; its log says what. Nothing was changed.",
    503: "The database does not answer. Try again in a moment.",
}


class BadRequest(Exception):
    """What was sent makes no sense (400)."""


class Unauthorized(Exception):
    """Nobody is signed in, or the token opens nothing (401)."""


class TooMany(Exception):
    """The limit of requests is used up (429)."""

    def __init__(self, detail: str, *, wait_s: int) -> None:
        super().__init__(detail)
        self.wait_s = wait_s


def problem(status: int, detail: str = "", fields: Mapping[str, list[str]] | None = None) -> JsonResponse:
    """An error as an answer; without a sentence, the usual one of this status."""
    word = WORDS.get(status, "bad_request" if status < 500 else "internal_error")
    return JsonResponse(
        {"error": word, "detail": detail or DETAILS.get(status, DETAILS[400]), "fields": dict(fields or {})},
        status=status,
    )
