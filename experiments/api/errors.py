"""What went wrong, told in one shape (problems.py). Nothing shows a traceback; what nobody expected is logged."""

from __future__ import annotations

import logging

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from experiments.messages import DATABASE_FULL, database_away
from experiments.models import Forbidden, Invalid, Overtaken, Refused

from .auth import HOW
from .error_response import BadRequest, TooMany, Unauthorized, problem

log = logging.getLogger(__name__)

# Pydantic's kinds of faults as our sentences; {} takes what its context says.
SENTENCES = {
    "missing": "This is missing.",
    "extra_forbidden": "There is no such field.",
    "string_type": "This must be a text.",
    "string_too_long": "At most {max_length} characters are possible.",
    "string_too_short": "This is missing.",
    "int_type": "This must be a whole number.",
    "int_parsing": "This must be a whole number.",
    "int_parsing_size": "This number is too large.",
    "int_from_float": "This must be a whole number.",
    "float_type": "This must be a number.",
    "float_parsing": "This must be a number.",
    "finite_number": "This must be a finite number.",
    "bool_type": "This must be true or false.",
    "bool_parsing": "This must be true or false.",
    "list_type": "This must be a list.",
    "dict_type": "This must be a JSON object.",
    "model_type": "This must be a JSON object.",
    "model_attributes_type": "This must be a JSON object.",
    "greater_than_equal": "This must be at least {ge}.",
    "less_than_equal": "This must be at most {le}.",
    "literal_error": "This must be {expected}.",
    "none_required": "This must be null.",
}
OVERTAKEN = "Somebody was faster: it changed while you looked. Look again, then decide."


def tell_in(api: NinjaAPI) -> None:
    """Gives `api` one handler for each kind of error."""
    plain = {
        BadRequest: 400,
        SuspiciousOperation: 400,
        Unauthorized: 401,
        Forbidden: 403,
        Refused: 409,
    }
    for kind, status in plain.items():
        api.add_exception_handler(kind, lambda request, error, status=status: problem(status, str(error)))
    api.add_exception_handler(RequestDataTooBig, _too_big)
    api.add_exception_handler(AuthenticationError, lambda request, error: problem(401, HOW))
    api.add_exception_handler(Http404, lambda request, error: problem(404, str(error)))
    api.add_exception_handler(Overtaken, lambda request, error: problem(409, OVERTAKEN))
    api.add_exception_handler(Invalid, _invalid)
    api.add_exception_handler(ValidationError, _not_valid)
    api.add_exception_handler(HttpError, _unreadable)
    api.add_exception_handler(TooMany, _too_many)
    api.add_exception_handler(OperationalError, _away)
    api.add_exception_handler(InterfaceError, _away)
    api.add_exception_handler(Exception, _unexpected)


def _invalid(request: HttpRequest, error: Invalid) -> HttpResponse:
    return _faults(error.errors)


def _not_valid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    """What django-ninja found: a place is (source, the function's argument, field, …)."""
    fields: dict[str, list[str]] = {}
    for fault in error.errors:
        place = [part for part in fault["loc"] if isinstance(part, str)]
        is_of_body = place[:1] == ["body"] and len(place) > 2
        name = ".".join(map(str, fault["loc"][2 if is_of_body else 1 :])) if len(fault["loc"]) > 1 else "body"
        if place[:1] == ["body"] and not is_of_body:
            name = "body"
        sentence = SENTENCES.get(fault["type"])
        told = sentence.format(**fault.get("ctx", {})) if sentence else f"{fault['msg']}."
        fields.setdefault(name[:200], []).append(told)
    return _faults(fields)


def _faults(fields: dict[str, list[str]]) -> HttpResponse:
    first = next(((name, said[0]) for name, said in fields.items() if said), ("", "This cannot be accepted."))
    rest = len(fields) - 1
    detail = f"{first[0]}: {first[1]}" + (f" (And {rest} more.)" if rest > 0 else "")
    return problem(422, detail, fields)


def _unreadable(request: HttpRequest, error: HttpError) -> HttpResponse:
    """django-ninja itself says this only of a body that is not JSON."""
    said = "The body is not JSON." if error.status_code == 400 else str(error)
    return problem(error.status_code, said)


def _too_big(request: HttpRequest, error: Exception) -> HttpResponse:
    return problem(400, "The body is too large; at most 16 MB are possible.")


def _too_many(request: HttpRequest, error: TooMany) -> HttpResponse:
    answer = problem(429, str(error))
    answer["Retry-After"] = str(error.wait_s)
    return answer


def _away(request: HttpRequest, error: Exception) -> HttpResponse:
    log.warning("%s %s: %s", request.method, request.path, error)
    said = database_away(error)
    answer = problem(503, said if said == DATABASE_FULL else "")
    answer["Retry-After"] = "2"
    return answer


def _unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return problem(500)
