"""Who asks: a token in the header, or the session of a signed-in person."""

from __future__ import annotations

from django.http import HttpRequest
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import timezone
from ninja.security.base import AuthBase

from experiments.models import Forbidden, Token, User

from . import rate_limit
from .error_response import Unauthorized

HOW = "Send a token: Authorization: Bearer td_… (make one on your account page, or with trialdeck token)."


class Bearer(AuthBase):
    """`Authorization: Bearer td_…`."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> User | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        kind, _, secret = header.strip().partition(" ")
        if kind.lower() != "bearer" or not secret:
            raise Unauthorized(HOW)
        now = timezone.now()
        token = Token.find(secret.strip())
        if token is None:
            raise Unauthorized("This token is wrong: there is none like it. " + HOW)
        if said := token.why_not(now):
            raise Unauthorized(said)
        rate_limit.count(f"token:{token.pk}")
        token.note_use(now)
        request.user = token.bearer()
        return request.user


class Session(AuthBase):
    """The session cookie of a signed-in person; what acts needs the header X-CSRFToken."""

    openapi_type = "apiKey"
    openapi_in = "cookie"
    openapi_name = "session"

    def __call__(self, request: HttpRequest) -> User | None:
        if not request.user.is_authenticated:
            raise Unauthorized(HOW)
        request.csrf_processing_done = False
        check = CsrfViewMiddleware(lambda _: None)
        check.process_request(request)
        if check.process_view(request, lambda: None, (), {}):
            raise Forbidden("With a session, what acts needs the header X-CSRFToken. Or use a token.")
        rate_limit.count(f"user:{request.user.pk}")
        return request.user


def holder_of(user: User) -> str:
    """Whose limits and idempotency keys these are."""
    return f"token:{user.token.pk}" if user.token else f"user:{user.pk}"
