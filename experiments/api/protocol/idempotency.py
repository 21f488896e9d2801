"""The decorator of every endpoint: return values become JSON, and a POST with an Idempotency-Key runs once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from ninja.responses import Status

from experiments import database_clock
from experiments.models import Answer, Refused
from experiments.models.idempotency import KEPT_FOR
from experiments.permissions import checks, require_again

from ..serialization import render
from . import query_names
from .auth import ApiRequest, holder_of
from .errors import BadRequest

LONGEST_KEY = 255


def json_view(view: Callable[..., Any]) -> Callable[..., HttpResponseBase]:
    """Let a view return plain data, `Status(201, data)`, or a response of its own."""

    @wraps(view)
    def wrapped(request: ApiRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        query_names.check(request)
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        if key is None:
            return _response(view(request, *args, **kwargs))
        return _run_once(request, key, lambda: _response(view(request, *args, **kwargs)))

    return wrapped


def _response(result: Any) -> HttpResponseBase:
    if isinstance(result, HttpResponseBase):  # files too
        return result
    if not isinstance(result, Status):
        return render(result)
    return HttpResponse(status=204) if result.status_code == 204 else render(result.value, result.status_code)


def _run_once(request: ApiRequest, key: str, run: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    """Run the view and store its response in one transaction.

    Of two concurrent requests, the second waits for the first one's row and then repeats its response. A failed
    request stores and changes nothing, and may be sent again. Before a response is repeated, the permissions that the
    request needed are checked again.
    """
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise BadRequest(f"An Idempotency-Key must have 1 to {LONGEST_KEY} printable characters.")
    holder, digest = holder_of(request.user), _digest(request)
    Answer.objects.filter(holder=holder, key=key, created_at__lt=database_clock.now() - KEPT_FOR).delete()
    try:
        with transaction.atomic():
            row = Answer.objects.create(holder=holder, key=key, digest=digest)
            response = run()
            if not isinstance(response, HttpResponse):
                raise TypeError("The response of a POST must not be streamed: it is stored.")
            row.status, row.body = response.status_code, response.content.decode()
            row.checks = checks(request.user)
            row.save(update_fields=["status", "body", "checks"])
            return response
    except IntegrityError:
        stored = Answer.objects.filter(holder=holder, key=key).first()
        if stored is None:  # raised by the view itself
            raise
    if stored.digest != digest:
        raise Refused(f"The Idempotency-Key {key} was used for another request. Use a new key per request.")
    if not stored.checks:
        raise Refused(f"The response for the Idempotency-Key {key} is no longer available. Use a new key.")
    require_again(request.user, stored.checks)
    replay = HttpResponse(stored.body, status=stored.status, content_type="application/json")
    replay["Idempotent-Replay"] = "true"
    return replay


def _digest(request: ApiRequest) -> str:
    body_digest = hashlib.sha256(request.body).hexdigest()
    text = "\n".join([request.method or "", request.get_full_path(), body_digest])
    return hashlib.sha256(text.encode()).hexdigest()
