"""The whole OpenAPI schema, fuzzed: whatever is sent, every address answers as its documentation says.

Requests are made from the schema, right ones and wrong ones, about rows that are there and about nothing. Each is
undone afterwards. What this found is kept as a test of its own elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from django.core import signals
from django.core.handlers.wsgi import WSGIHandler
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from experiments.models import Artifact, Failure, Keeping, LogPiece, Model, Outcome, Point, Role, Token, User
from tests.people import look_at, make_settings
from tests.web.files import leave

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
IN_THE_SUITE, IN_A_SOAK = 3, 250  # requests per address
ROOT = "/api/v1"


@pytest.fixture
def secret(db) -> str:
    """Of a token that may do everything everywhere."""
    root = User.objects.create_superuser("root", password="root-knows")
    return Token.make("fuzz", user=root, workspace=None, role=Role.OWNER)[1]


@pytest.fixture
def ids(running, in_state, alice, bob) -> list[str]:
    """A workspace as people leave it: experiments in several states, trials of every kind, metrics, logs, history."""
    others = [
        in_state(state, name=state).public_id
        for state in ("draft", "completed", "stopped", "published", "paused")
    ]
    busy = running("busy", taken=3, concurrency=5, max_trials=9, goal=0.9, max_duration_s=3600.5)
    first, two, three = busy.trials.filter(state="running")
    first.settle(Outcome(value=0.5, exit_code=0, peak_memory=2**40, cpu_s=0.1))
    two.settle(Outcome(exit_code=1, failure=Failure.EXIT_CODE, detail="ValueError: ü"))
    busy.update(make_settings(max_trials=20, concurrency=5), by=bob, seen=1, note="more")
    steps = [Point(trial=first, name=name, step=step, value=step / 7) for name in "ab" for step in range(5)]
    Point.keep([*steps, Point(trial=three, name="a", step=0, value=None, text="nan")])
    LogPiece.keep([LogPiece(trial=first, offset=at, size=8, data="möhre\n".encode()[:8]) for at in (0, 100)])
    type(first).objects.filter(pk=first.pk).update(log_bytes=108)
    Model.register(busy.project, by=alice, name="Grüße", artifact=leave(first), labels={"cat": 0})
    leave(two, "a/b.bin", None, keeping=Keeping.WAITING, destination="s3://bucket/x", fault="full")
    busy.describe(by=alice, tags=["x", "y"], description="Grüße")
    look_at(busy)
    return [busy.public_id, *others, in_state("pending", name="pending").public_id]


@pytest.fixture
def app() -> Iterator[WSGIHandler]:
    """The application as a server has it, but for closing the connection of the test after each request."""
    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close_old_connections)
    yield get_wsgi_application()
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close_old_connections)


def operations(app: WSGIHandler) -> Iterator[APIOperation]:
    """Every address with every method, on the application itself."""
    from experiments.api.api import api

    schema = schemathesis.openapi.from_dict(api.get_openapi_schema())
    schema.app = app
    for expected in schema.get_all_operations():
        yield expected.ok()


def requests(operation: APIOperation, ids: list[str]) -> st.SearchStrategy[schemathesis.Case]:
    """Right and wrong ones about rows that are there, and right ones about anything."""
    names = {parameter.name for parameter in operation.path_parameters}
    rows = [{"public_id": item, "number": number} for item in ids for number in (1, 2, 3)]
    kept = {"artifact": Artifact.objects.first().pk, "model": Model.objects.get().public_id}
    here = [{**row, "workspace": "lab", "queue": "default", "worker": "w1", **kept} for row in rows]
    rows_by_text = {
        str(row): row for item in here if (row := {name: item[name] for name in item if name in names})
    }
    about = st.sampled_from(list(rows_by_text.values())) if rows_by_text else st.none()
    modes = st.sampled_from(GenerationMode)
    right_and_wrong = st.tuples(modes, about).flatmap(
        lambda drawn: operation.as_strategy(generation_mode=drawn[0], path_parameters=drawn[1])
    )
    return right_and_wrong | right_and_wrong | operation.as_strategy()


def fuzz(app: WSGIHandler, ids: list[str], secret: str, *, count: int) -> tuple[set[int], list[str]]:
    """(the statuses that came, what was answered otherwise than documented), of `count` requests to each address."""
    statuses, wrong = set(), []
    for operation in operations(app):

        @settings(
            max_examples=count,
            deadline=None,
            database=None,
            derandomize=count == IN_THE_SUITE,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(case=requests(operation, ids))
        def send(case: schemathesis.Case) -> None:
            with transaction.atomic():
                response = case.call(
                    headers={"Authorization": f"Bearer {secret}", "Accept-Encoding": "identity"}
                )
                transaction.set_rollback(True)
            statuses.add(response.status_code)
            case.validate_response(response, checks=CHECKS)

        try:
            send()
        except FailureGroup as found:
            wrong.append(f"{operation.label}: {found}")
    return statuses, wrong


def test_every_address_answers_as_documented(app, ids, secret, settings):
    """No 500, no undocumented status, bodies as the schema says."""
    settings.API_RATE = "0"
    statuses, wrong = fuzz(app, ids, secret, count=IN_THE_SUITE)
    assert not wrong, "\n\n".join(wrong)
    assert statuses >= {200, 201, 400, 404, 409, 422}, "requests reach far in, and miss in every way"


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_address_answers_as_documented_for_long(app, ids, secret, settings):
    """The same, with other requests each time."""
    settings.API_RATE = "0"
    _, wrong = fuzz(app, ids, secret, count=IN_A_SOAK)
    assert not wrong, "\n\n".join(wrong)
