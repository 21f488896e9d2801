"""Which plain statements are prepared on PostgreSQL, on which connections, and with constants in their text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    OperationalError,
    connection,
    connections,
    transaction,
)
from django.test.utils import CaptureQueriesContext

from experiments.models import Experiment, Free, Outcome, Trial, Worker, driver, plain_sql
from experiments.worker.settle import Claimant, settle_and_claim

pytestmark = pytest.mark.django_db(transaction=True)
KEY, OTHER_KEY = -1_000_000_007, -1_000_000_009


def prepared() -> list[str]:
    """The statements that the server has prepared for this connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [text for (text,) in cursor.fetchall()]


@pytest.fixture(autouse=True)
def a_new_connection() -> Iterator[None]:
    connection.close()
    yield
    connection.close()


def statement() -> plain_sql.Statement:
    return plain_sql.Statement(
        lambda experiment, least: (
            Trial.objects.filter(
                experiment=experiment, number__gte=least, state="waiting", detail__contains="50%"
            )
            .order_by("number")
            .values_list("number")
        ),
        experiment=KEY,
        least=OTHER_KEY,
    )


def test_a_statement_is_prepared_once_and_has_its_constants_in_its_text(
    draft: Callable[..., Experiment],
) -> None:
    """A generic plan can use a partial index only if the condition of the index is in the text."""
    experiment, waiting = draft(), statement()
    for number, least in enumerate((1, 40_000, 3_000_000_000), start=1):
        Trial(experiment=experiment, revision=experiment.revision, number=number, detail="50%").save()
        assert waiting.rows(experiment=experiment.pk, least=least) == [(1,)][: least == 1]
    assert waiting.rows(experiment=experiment.pk, least=-1) == [(1,), (2,), (3,)]
    if connection.vendor == "postgresql":
        (text,) = [text for text in prepared() if "experiments_trial" in text]
        assert "= 'waiting'" in text, "known when it is planned"
        assert text.count("$") == 2, "the values that differ"
        plain_sql.update(Experiment, {"id": experiment.pk}, {"name": "a", "max_trials": None})
        plain_sql.update(Experiment, {"id": experiment.pk}, {"name": "b", "max_trials": 3_000_000})
        assert len([text for text in prepared() if text.startswith("UPDATE")]) == 2, (
            "with NULL, and with a number"
        )


def test_a_statement_for_one_use_is_not_prepared(draft: Callable[..., Experiment]) -> None:
    """It would be parsed twice, and take the place of one that is used again."""
    experiment = draft()
    numbers = ", ".join(map(str, range(1000)))
    rows = Experiment.objects.filter(pk=experiment.pk).extra(where=[f"id NOT IN ({numbers})", "1 = 1"])
    assert len(plain_sql.read_rows(rows.values_list("pk"))) <= 1
    if connection.vendor == "postgresql":
        assert not [text for text in prepared() if "NOT IN" in text]


def test_rows_by_keys_need_few_statements(running: Callable[..., Experiment]) -> None:
    """One for each power of two, not one for each number of keys."""
    trials = running(concurrency=7, max_trials=10).trials.order_by("number")
    read = plain_sql.KeyedRows(Trial, lambda keys: Trial.objects.filter(pk__in=keys))
    for count in range(8):
        chosen = list(trials[:count])
        assert len(chosen) == count
        assert sorted(read.objects([trial.pk for trial in chosen]), key=lambda trial: trial.number) == chosen
    assert read._compiled.cache_info().currsize == 4  # 1, 2, 4 and 8
    if connection.vendor == "postgresql":
        assert len([text for text in prepared() if '"experiments_trial"."id" IN (' in text]) == 4


@pytest.mark.parametrize("way", ["captured", "behind a pooler", "not asked for"])
def test_otherwise_djangos_cursors_execute(
    way: str, draft: Callable[..., Experiment], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a pooler, each transaction may reach another server process, which does not have the statements that were
    prepared before."""
    if connection.vendor != "postgresql":
        assert driver.literal(1) == ""
        return
    experiment, waiting = draft(), statement()
    connection.close()
    if way == "not asked for":
        options = connections.settings["default"]["OPTIONS"]
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", {**options, "prepare_threshold": None})
    if way == "behind a pooler":
        monkeypatch.setattr("psycopg.ConnectionInfo.backend_pid", property(lambda info: 77))
    if way == "captured":
        with CaptureQueriesContext(connection) as queries:
            assert waiting.rows(experiment=experiment.pk, least=0) == []
        assert len(queries) == 1
    else:
        assert waiting.rows(experiment=experiment.pk, least=0) == []
    assert prepared() == []


def new_trial(experiment: Experiment) -> dict[str, Any]:
    values = {"experiment_id": experiment.pk, "revision_id": experiment.revision_id, "number": 1000}
    return values | {"params": {}, "raw": {}, "sampler_attrs": {}, "created_at": experiment.created_at}


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The statements of each message to the server that the driver sends."""
    sent: list[list[str]] = []
    if connection.vendor == "postgresql":
        from experiments.models import postgres

        exchange = postgres.Session._exchange

        def noted(session: Any, requests: Any, *, commits: bool = False) -> None:
            sent.append([request.sql.split()[0] for request in requests] + ["COMMIT"] * commits)
            exchange(session, requests, commits=commits)

        monkeypatch.setattr(postgres.Session, "_exchange", noted)
    return sent


def test_a_fault_is_one_of_djangos(running: Callable[..., Experiment]) -> None:
    """Callers expect Django's exceptions, also when the answer is read later, and the connection must stay usable."""
    experiment = running(taken=1)
    values = new_trial(experiment)
    with pytest.raises(IntegrityError), driver.pipelined_transaction():
        for _ in range(2):
            plain_sql.insert(Trial, **values)
    assert not experiment.trials.filter(number=1000)
    with driver.pipelined_transaction():
        assert plain_sql.insert(Trial, **values).pk
    assert experiment.trials.filter(number=1000)


def test_a_fault_that_shows_at_the_commit_is_one_too(running: Callable[..., Experiment]) -> None:
    """Foreign keys are checked then: nothing of the transaction is stored."""
    experiment = running(taken=1)
    with pytest.raises(IntegrityError), driver.pipelined_transaction():
        plain_sql.update(Experiment, {"id": experiment.pk}, {"name": "changed"})
        plain_sql.insert(Trial, None, **{**new_trial(experiment), "revision_id": 1_000_000})
    assert not Experiment.objects.filter(name="changed")
    with driver.pipelined_transaction():
        plain_sql.require_update(Experiment, {"id": experiment.pk}, {"name": "changed"})
    assert Experiment.objects.filter(name="changed")


def test_what_is_not_read_is_sent_with_the_commit(
    running: Callable[..., Experiment], messages: list[list[str]]
) -> None:
    """Two messages: up to the first read, and the others."""
    experiment, seen = running(taken=1), []
    messages.clear()
    with driver.pipelined_transaction():
        transaction.on_commit(lambda: seen.append(connection.in_atomic_block))
        keys = plain_sql.ask_keys(Trial, 2)
        key = keys.rows()[1][0] if keys else None
        plain_sql.insert(Trial, key, **new_trial(experiment))
        plain_sql.require_update(Experiment, {"id": experiment.pk}, {"name": "changed"})
    assert seen == [False]
    assert (Experiment.objects.get().name, experiment.trials.filter(number=1000).count()) == ("changed", 1)
    if connection.vendor == "postgresql":
        assert messages[-2:] == [["SELECT"], ["INSERT", "WITH", "COMMIT"]]
        assert experiment.trials.get(number=1000).pk == key


def test_djangos_cursors_see_what_was_collected(
    running: Callable[..., Experiment], messages: list[list[str]]
) -> None:
    """Statements keep their order, whoever executes them."""
    experiment = running(taken=1)
    with driver.pipelined_transaction():
        plain_sql.require_update(Experiment, {"id": experiment.pk}, {"name": "changed"})
        assert Experiment.objects.get().name == "changed"
        Experiment.objects.update(name="again")
        plain_sql.require_update(Experiment, {"id": experiment.pk, "name": "again"}, {"name": "last"})
    assert Experiment.objects.get().name == "last"


def test_an_update_that_changes_nothing_rolls_back(running: Callable[..., Experiment]) -> None:
    """Also what was sent with it, and with the commit."""
    experiment = running(taken=1)
    with pytest.raises(DataError), driver.pipelined_transaction():
        plain_sql.require_update(Experiment, {"id": experiment.pk}, {"name": "changed"})
        plain_sql.require_update(Trial, {"id": 1_000_000}, {"detail": "changed"})
        plain_sql.insert(Trial, 2_000_000, **new_trial(experiment))
    assert not Experiment.objects.filter(name="changed")
    assert not experiment.trials.filter(number=1000)


@pytest.mark.parametrize("reads", [True, False])
def test_an_exception_rolls_back(running: Callable[..., Experiment], reads: bool) -> None:
    experiment = running(taken=1)
    with pytest.raises(ZeroDivisionError), driver.pipelined_transaction():
        plain_sql.require_update(Experiment, {"id": experiment.pk}, {"name": "changed"})
        if reads:
            assert statement().rows(experiment=experiment.pk, least=1_000_000) == []
        raise ZeroDivisionError
    assert not Experiment.objects.filter(name="changed")
    plain_sql.update(Experiment, {"id": experiment.pk}, {"name": "later"})
    assert Experiment.objects.filter(name="later")


def test_within_a_transaction_it_does_not_commit(running: Callable[..., Experiment]) -> None:
    experiment = running(taken=1)
    with transaction.atomic():
        with driver.pipelined_transaction():
            plain_sql.require_update(Experiment, {"id": experiment.pk}, {"name": "changed"})
        assert Experiment.objects.filter(name="changed")
        transaction.set_rollback(True)
    assert not Experiment.objects.filter(name="changed")


def test_statements_that_something_has_dropped_are_prepared_again(
    running: Callable[..., Experiment],
) -> None:
    """The first transaction after it fails, as if the connection were lost."""
    if connection.vendor != "postgresql":
        return
    experiment, waiting = running(taken=1), statement()
    assert waiting.rows(experiment=experiment.pk, least=1_000_000) == []
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    with pytest.raises(DatabaseError):
        waiting.rows(experiment=experiment.pk, least=1_000_000)
    assert waiting.rows(experiment=experiment.pk, least=1_000_000) == []


def test_a_lost_connection_is_an_operational_error(running: Callable[..., Experiment]) -> None:
    """Nothing is stored, and the next transaction has a new connection."""
    if connection.vendor != "postgresql":
        return
    experiment = running(taken=1)
    with pytest.raises(OperationalError), driver.pipelined_transaction():
        plain_sql.require_update(Experiment, {"id": experiment.pk}, {"name": "changed"})
        statement().rows(experiment=experiment.pk, least=1)
        plain_sql.Answer("SELECT pg_terminate_backend(pg_backend_pid())", []).rows()
    connection.close_if_unusable_or_obsolete()
    assert not Experiment.objects.filter(name="changed")
    with driver.pipelined_transaction():
        plain_sql.require_update(Experiment, {"id": experiment.pk}, {"name": "changed"})
    assert Experiment.objects.filter(name="changed")


def test_large_messages_pass_while_large_answers_wait(running: Callable[..., Experiment]) -> None:
    """Neither side waits for the other to read first."""
    if connection.vendor != "postgresql":
        return
    running(taken=1)
    text = "x" * 1_000_000
    with driver.pipelined_transaction():
        answers = [plain_sql.Answer("SELECT %s::text", [text]) for _ in range(20)]
        assert [len(answer.rows()[0][0]) for answer in answers] == [1_000_000] * 20


def test_a_settled_and_a_claimed_trial_take_two_messages(
    running: Callable[..., Experiment], worker: Worker, messages: list[list[str]]
) -> None:
    """What all slots wait for is held while they are exchanged."""
    experiment = running(taken=1, max_trials=20, concurrency=1)
    trial: Trial | None = experiment.trials.select_related("experiment__queue", "revision").get(
        state="running"
    )
    for value in (3.0, 2.0, 1.0):  # the first one is the best
        assert trial
        messages.clear()
        settled = settle_and_claim(
            trial, Outcome(value=value), None, claimant=Claimant(worker, ["default"], Free())
        )
        assert settled
        trial = settled.following
    if connection.vendor == "postgresql":
        assert len(messages) == 2
        assert messages[1][-1] == "COMMIT"
