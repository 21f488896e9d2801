"""Every address goes through here: what a function returns becomes JSON, and an Idempotency-Key makes it act once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from ninja.responses import Status

from experiments.models import Answer, Refused
from experiments.models.idempotency import KEPT_FOR

from .auth import holder_of
from .error_response import BadRequest
from .serialization import render

LONGEST_KEY = 255


def told(view: Callable[..., Any]) -> Callable[..., HttpResponse]:
    """Functions return plain data, `Status(201, data)`, or an answer of their own."""

    @wraps(view)
    def answer(request: HttpRequest, *given: Any, **named: Any) -> HttpResponse:
        key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
        if key is None:
            return _rendered(view(request, *given, **named))
        return _once(request, key, lambda: _rendered(view(request, *given, **named)))

    return answer


def _rendered(result: Any) -> HttpResponse:
    if isinstance(result, HttpResponseBase):  # a file, too
        return result
    if isinstance(result, Status):
        return (
            HttpResponse(status=204)
            if result.status_code == 204
            else render(result.value, result.status_code)
        )
    return render(result)


def _once(request: HttpRequest, key: str, action: Callable[[], HttpResponse]) -> HttpResponse:
    """Acts and stores the answer in one transaction. Of two at once the second waits for the first's row, and then
    repeats its answer. What failed stored nothing, changed nothing, and may be sent again."""
    if not 0 < len(key) <= LONGEST_KEY or not key.isprintable():
        raise BadRequest(f"An Idempotency-Key has 1 to {LONGEST_KEY} printable characters.")
    holder, digest = holder_of(request.user), _digest(request)
    Answer.objects.filter(holder=holder, key=key, created_at__lt=timezone.now() - KEPT_FOR).delete()
    try:
        with transaction.atomic():
            row = Answer.objects.create(holder=holder, key=key, digest=digest)
            answer = action()
            row.status, row.body = answer.status_code, answer.content.decode()
            row.save(update_fields=["status", "body"])
            return answer
    except IntegrityError:
        row = Answer.objects.filter(holder=holder, key=key).first()
        if row is None:  # it was the act's own
            raise
    if row.digest != digest:
        raise Refused(
            f"The Idempotency-Key {key} was used for another request. Give each request its own key."
        )
    answer = HttpResponse(row.body, status=row.status, content_type="application/json")
    answer["Idempotent-Replay"] = "true"
    return answer


def _digest(request: HttpRequest) -> str:
    asked = "\n".join([request.method, request.get_full_path(), hashlib.sha256(request.body).hexdigest()])
    return hashlib.sha256(asked.encode()).hexdigest()
