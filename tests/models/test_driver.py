"""Which plain statements are prepared on PostgreSQL, on which connections, and with constants in their text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from experiments.models import Experiment, Trial, driver, plain_sql

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
        assert len([text for text in prepared() if "experiments_trial" in text]) == 4


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


def test_a_fault_is_one_of_djangos(running: Callable[..., Experiment]) -> None:
    """Callers expect Django's exceptions, also when the answer is read later, and the connection must stay usable."""
    from django.db import IntegrityError, transaction

    experiment = running(taken=1)
    values: dict[str, Any] = {
        "experiment_id": experiment.pk,
        "revision_id": experiment.trials.get(number=1).revision_id,
        "number": 1000,
    }
    values |= {"params": {}, "raw": {}, "sampler_attrs": {}, "created_at": experiment.created_at}
    with pytest.raises(IntegrityError), transaction.atomic(), driver.pipelined():
        for _ in range(2):
            _, key = plain_sql.ask_insert(Trial, **values)
            key.rows()
    assert not experiment.trials.filter(number=1000)
    with transaction.atomic(), driver.pipelined():
        _, key = plain_sql.ask_insert(Trial, **values)
        assert key.rows()
    assert experiment.trials.filter(number=1000)
