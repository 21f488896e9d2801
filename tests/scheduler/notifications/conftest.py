"""What tests of notifications share: receivers, and the rules of bob."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest

from tests.support.receivers import HttpReceiver, SmtpReceiver, serving

if TYPE_CHECKING:  # this file is read before Django's settings are
    from experiments.models import Channel, Rule, User, Workspace


@pytest.fixture
def http(settings) -> Iterator[HttpReceiver]:
    """A webhook on this machine, which an administrator allows."""
    settings.WEBHOOK_NETWORKS = [ip_network("127.0.0.0/8")]
    server = HttpReceiver()
    with serving(server):
        yield server


@pytest.fixture
def smtp(settings) -> Iterator[SmtpReceiver]:
    """A mail server."""
    server = SmtpReceiver()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", server.port
    with serving(server):
        yield server


@pytest.fixture
def hook(lab: Workspace, http: HttpReceiver, bob: User) -> Channel:
    """A signed webhook of bob."""
    from experiments.models import Channel

    return Channel.create(lab, owner=bob, kind="webhook", name="pager", address=http.url)[0]


@pytest.fixture
def rule(lab: Workspace, hook: Channel, bob: User) -> Callable[..., Rule]:
    """Makes rules of bob about the whole workspace: `rule("ended")`."""

    from experiments.models import Rule

    def make(kind: str = "ended", **fields: object) -> Rule:
        values = {"scope": "workspace", "frequency": "always", "channels": [hook], **fields}
        return Rule.create(lab, owner=values.pop("owner", bob), kind=kind, **values)

    return make
