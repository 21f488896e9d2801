"""Errors of the API: the exceptions, their common JSON shape, and the handlers that convert between the two.

Every error response is {"error": word, "detail": sentence, "fields": {name: [sentence]}}. No response contains a
traceback; unexpected exceptions are logged.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from experiments.messages import DATABASE_FULL, database_away
from experiments.models import Forbidden, Invalid, Overtaken, Refused
from experiments.query_parameters import invalid, listed, quoted

log = logging.getLogger(__name__)

AnyError = TypeVar("AnyError", bound=Exception)

ERROR_WORDS = {
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
DEFAULT_DETAILS = {
    400: "Bad request.",
    401: "Send a token: Authorization: Bearer td_… (create one on your account page, or with `trialdeck token`).",
    404: "Not found, or not visible to you. Check the URL.",
    405: "Method not allowed.",
    500: "Internal server error. Nothing was changed; see the server log for details.",
    503: "Database unavailable. Try again in a moment.",
}

# Pydantic's error types as sentences for users; the placeholders are filled from the error's context.
VALIDATION_MESSAGES = {
    "missing": "This field is required.",
    "extra_forbidden": "Unknown field.",
    "string_type": "This must be a string.",
    "string_too_long": "This must have at most {max_length} characters.",
    "string_too_short": "This field is required.",
    "int_type": "This must be a whole number.",
    "int_parsing": "This must be a whole number.",
    "int_parsing_size": "This number is too large.",
    "int_from_float": "This must be a whole number.",
    "float_type": "This must be a number.",
    "float_parsing": "This must be a number.",
    "finite_number": "This must be a finite number.",
    "bool_type": "This must be true or false.",
    "bool_parsing": "This must be true or false.",
    "string_pattern_mismatch": "This must match {pattern}.",
    "too_long": "This must have at most {max_length} items.",
    "list_type": "This must be a list.",
    "dict_type": "This must be a JSON object.",
    "model_type": "This must be a JSON object.",
    "model_attributes_type": "This must be a JSON object.",
    "greater_than_equal": "This must be at least {ge}.",
    "less_than_equal": "This must be at most {le}.",
    "literal_error": "This must be {expected}.",
    "none_required": "This must be null.",
}
CONFLICT = "Someone else changed this first. Load it again, then retry."


class BadRequest(Exception):
    """The request cannot be understood (400). `fields`: a sentence for each invalid parameter."""

    def __init__(self, detail: str = "", fields: Mapping[str, str] | None = None) -> None:
        super().__init__(detail or " ".join((fields or {}).values()))
        self.fields = {name: [sentence] for name, sentence in (fields or {}).items()}


class Unauthorized(Exception):
    """The request has neither a session nor a valid token (401)."""


class TooManyRequests(Exception):
    """The caller has reached the rate limit (429)."""

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


def error_response(
    status: int, detail: str = "", fields: Mapping[str, list[str]] | None = None
) -> JsonResponse:
    """Return an error in the API's shape; without `detail`, with the default sentence of the status."""
    code = ERROR_WORDS.get(status, "bad_request" if status < 500 else "internal_error")
    detail = detail or DEFAULT_DETAILS.get(status, DEFAULT_DETAILS[400])
    return JsonResponse({"error": code, "detail": detail, "fields": dict(fields or {})}, status=status)


def register_handlers(api: NinjaAPI) -> None:
    """Give `api` one handler for each kind of exception."""
    by_status: dict[type[Exception], int] = {
        SuspiciousOperation: 400,
        Unauthorized: 401,
        Forbidden: 403,
        Http404: 404,
        Refused: 409,
    }
    for kind, status in by_status.items():
        _register(api, kind, _with_status(status))
    _register(api, BadRequest, lambda request, error: error_response(400, str(error), error.fields))
    _register(api, AuthenticationError, lambda request, error: error_response(401))
    _register(api, Overtaken, lambda request, error: error_response(409, CONFLICT))
    _register(api, RequestDataTooBig, _body_too_large)
    _register(api, Invalid, _model_invalid)
    _register(api, ValidationError, _request_invalid)
    _register(api, HttpError, _unreadable)
    _register(api, TooManyRequests, _too_many_requests)
    _register(api, OperationalError, _database_unavailable)
    _register(api, InterfaceError, _database_unavailable)
    _register(api, Exception, _unexpected)


def _register(
    api: NinjaAPI, kind: type[AnyError], handler: Callable[[HttpRequest, AnyError], HttpResponse]
) -> None:
    # django-ninja's annotation admits the class too; it passes instances only.
    api.add_exception_handler(
        kind, cast("Callable[[HttpRequest, AnyError | type[AnyError]], HttpResponse]", handler)
    )


def _with_status(status: int) -> Callable[[HttpRequest, Exception], HttpResponse]:
    return lambda request, error: error_response(status, str(error))


def _model_invalid(request: HttpRequest, error: Invalid) -> HttpResponse:
    return _validation_error(error.errors)


def _request_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """django-ninja's own validation. A location is (source, the view's parameter, field, …)."""
    fields: dict[str, list[str]] = {}
    sources = {fault["loc"][0] for fault in error.errors if fault["loc"]}
    for fault in error.errors:
        location = fault["loc"]
        source = location[0] if location else ""
        if source == "body":
            name = ".".join(map(str, location[2:])) or "body"
        else:
            name = ".".join(map(str, location[1:])) or "body"
        template = VALIDATION_MESSAGES.get(fault["type"])
        message = template.format(**fault.get("ctx", {})) if template else f"{fault['msg']}."
        if source == "query":
            message = _about_query(name, request.GET.get(name, ""), fault, message)
        fields.setdefault(name[:200], []).append(message)
    if sources == {"query"}:  # of the URL: the same status as on the pages
        return error_response(400, " ".join(messages[0] for messages in fields.values()), fields)
    return _validation_error(fields)


def _about_query(name: str, value: str, fault: Mapping[str, Any], message: str) -> str:
    """Return the sentence that pages show for an invalid value."""
    if fault["type"] == "missing":
        return f"{name}: {message}"
    if fault["type"] == "literal_error":
        values = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
        return invalid(name, value, listed(values))
    return f"Invalid {name}: {quoted(value)}. {message}"


def _validation_error(fields: Mapping[str, list[str]]) -> HttpResponse:
    name, message = next(
        ((name, messages[0]) for name, messages in fields.items() if messages), ("", "Invalid input.")
    )
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return error_response(422, f"{name}: {message}{more}", fields)


def _unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    """django-ninja itself raises a 400 only for a body that is not JSON."""
    detail = "The request body is not valid JSON." if error.status_code == 400 else str(error)
    return error_response(error.status_code, detail)


def _body_too_large(request: HttpRequest, error: Exception) -> HttpResponse:
    return error_response(400, "The request body is too large. The limit is 16 MB.")


def _too_many_requests(request: HttpRequest, error: TooManyRequests) -> HttpResponse:
    response = error_response(429, str(error))
    response["Retry-After"] = str(error.retry_after_s)
    return response


def _database_unavailable(request: HttpRequest, error: Exception) -> HttpResponse:
    log.warning("%s %s: %s", request.method, request.path, error)
    reason = database_away(error)
    response = error_response(503, reason if reason == DATABASE_FULL else "")
    response["Retry-After"] = "2"
    return response


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return error_response(500)
