"""Audit-log entries of requests: their origin, sign-ins, and downloads."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import DatabaseError
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.http import parse_header_parameters

from experiments.models import Experiment, User, Workspace, audit

from .client_address import address_of

logger = logging.getLogger(__name__)

WAYS = {
    "ModelBackend": "password",
    "OpenIDBackend": "OpenID Connect",
    "ProxyUserBackend": "proxy",
}


class AuditOrigin:
    """Middleware: set the origin of audit-log entries, and record each file that is downloaded."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        def actor() -> User | None:
            user = getattr(request, "user", None)
            return user if isinstance(user, User) and user.is_authenticated else None

        with audit.origin(address=address_of(request), via=_interface_of(request.path_info), actor=actor):
            response = self.get_response(request)
            if request.method == "GET" and (name := _downloaded(response)):
                _record_download(request, name)
            return response


def _interface_of(path: str) -> str:
    if path.startswith("/api/"):
        return "api"
    return "administration" if path.startswith("/admin/") else "console"


def _downloaded(response: HttpResponseBase) -> str:
    """Return the name of the file that this response downloads, or "". Of a ranged download, only the first part
    counts."""
    if response.status_code == 302:
        return getattr(response, "downloaded_name", "")
    is_begun = response.status_code == 200 or response.headers.get("Content-Range", "").startswith("bytes 0-")
    disposition, parameters = parse_header_parameters(response.headers.get("Content-Disposition", ""))
    return parameters.get("filename", "file") if is_begun and disposition == "attachment" else ""


def _record_download(request: HttpRequest, name: str) -> None:
    """Record a download. If the database is not writable, log it instead: a full disk must not prevent reading."""
    try:
        audit.record("download", workspace=_workspace_of(request), subject=name, of=request.path_info)
    except DatabaseError as error:
        origin = audit.origin_of_now()
        logger.warning("%s downloaded %s (%s): %s", origin.actor(), request.path_info, origin.address, error)


def _workspace_of(request: HttpRequest) -> Workspace | None:
    arguments = request.resolver_match.kwargs if request.resolver_match else {}
    if slug := arguments.get("workspace_slug") or arguments.get("workspace"):
        return Workspace.objects.filter(slug=slug).first()
    if public_id := arguments.get("public_id"):
        experiment = Experiment.everything.filter(public_id=public_id).select_related("workspace").first()
        return experiment.workspace if experiment else None
    return None


# --- sign-ins --------------------------------------------------------------------------------------------------------


@receiver(user_logged_in)
def record_sign_in(sender: object, request: HttpRequest | None, user: User, **_: Any) -> None:
    backend = request.session.get(BACKEND_SESSION_KEY, "") if request is not None else ""
    method = WAYS.get(backend.rpartition(".")[2], "")
    if request is not None and request.resolver_match and request.resolver_match.url_name == "enter":
        method = "one-time link"
    audit.record("sign_in", by=user, subject=user, method=method)


@receiver(user_logged_out)
def record_sign_out(sender: object, request: HttpRequest | None, user: User | None, **_: Any) -> None:
    if user is not None:
        audit.record("sign_out", by=user, subject=user)


def record_failure(username: str) -> None:
    """Record a failed sign-in. The name is stored only if an account has it: otherwise, it may be a password."""
    user = User.objects.filter(username=username[:150]).first() if "\0" not in username else None
    name = user.get_username() if user else ""
    audit.record("sign_in_failed", who=name or "Unknown name", subject=name, reason="wrong password")
