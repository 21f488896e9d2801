"""Rows that plain SQL reads are the rows that the ORM reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.apps import apps
from django.db import connection, models
from django.db.backends.sqlite3.operations import DatabaseOperations
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from experiments.models import Experiment, Outcome, Trial, column_values, plain_sql
from experiments.worker.plain_transaction import read_experiment

pytestmark = pytest.mark.django_db
KEY = -1_000_000_007
FAILED = Outcome(failure="exit_code", detail="exit code 3", exit_code=3)


def columns_of(row: models.Model) -> dict[str, tuple[type, object]]:
    """The columns that have been read, each with its type: 1, 1.0 and True are different values."""
    names = [field.attname for field in row._meta.concrete_fields]
    return {name: (type(row.__dict__[name]), row.__dict__[name]) for name in names if name in row.__dict__}


def test_every_column_of_every_table_is_read_as_the_orm_reads_it(running: Callable[..., Experiment]) -> None:
    """Dates, documents, truth values, keys."""
    experiment = running(taken=2)
    first = experiment.trials.get(number=1)
    first.settle(Outcome(value=1.0, exit_code=0, final_metrics={"loss": 0.5, "tag": None}, cpu_s=2.0))
    experiment.trials.get(number=2).settle(FAILED)
    looked_at = set()
    for model in apps.get_app_config("experiments").get_models():
        read = plain_sql.RowStatement(
            model, lambda pk, model=model: model._base_manager.filter(pk=pk), pk=KEY
        )
        if not isinstance(model._meta.pk, models.AutoField):
            continue
        for row in model._base_manager.order_by("pk")[:5]:
            plain = read.object(pk=row.pk)
            assert plain == row
            assert columns_of(plain) == columns_of(row)
            looked_at.add(model.__name__)
    assert {"Experiment", "Trial", "Revision", "Queue", "Worker", "Event", "Workspace"} <= looked_at


def test_only_the_named_columns_and_annotations_are_read(
    running: Callable[..., Experiment], django_assert_num_queries: Callable[..., CaptureQueriesContext]
) -> None:
    experiment = running(taken=1)
    experiment.trials.get(number=1).settle(FAILED)
    experiment.trials.get(number=1).rerun(by=experiment.creator)
    read = plain_sql.RowStatement(
        Trial,
        lambda experiment: (
            Trial.objects.filter(experiment=experiment).order_by("number").annotate(of=F("rerun_of__number"))
        ),
        names=("id", "number", "params"),
        annotations=("of",),
        experiment=KEY,
    )
    trials = read.objects(experiment=experiment.pk)
    assert [trial.number for trial in trials] == list(
        experiment.trials.order_by("number").values_list("number", flat=True)
    )
    assert trials[-1].of == 1
    assert [trial.of for trial in trials[:-1]] == [None] * (len(trials) - 1)
    assert columns_of(trials[0]).keys() == {"id", "number", "params"}
    with django_assert_num_queries(1):  # as after `only`
        assert trials[0].state == "failed"


def test_an_experiment_is_read_with_its_revision_and_queue(
    running: Callable[..., Experiment], django_assert_num_queries: Callable[..., CaptureQueriesContext]
) -> None:
    experiment = running()
    plain = read_experiment(experiment.pk)
    assert plain == Experiment.objects.get(pk=experiment.pk)
    revision, queue = experiment.revision, experiment.queue
    with django_assert_num_queries(0):
        assert (plain.revision, plain.queue) == (revision, queue)
        assert plain.settings == experiment.settings
    Experiment.objects.filter(pk=experiment.pk).update(queue=None)
    assert read_experiment(experiment.pk).queue is None
    Experiment.objects.filter(pk=experiment.pk).update(trashed_at=experiment.created_at)
    assert read_experiment(experiment.pk) is None


def test_related_rows_are_read_with_the_row_or_known_to_be_none(
    running: Callable[..., Experiment], django_assert_num_queries: Callable[..., CaptureQueriesContext]
) -> None:
    """As after select_related: whole ones, some of their columns, and none."""
    experiment = running(taken=1)
    read = plain_sql.RowStatement(
        Trial,
        lambda experiment: (
            Trial.objects.filter(experiment=experiment).order_by("number").annotate(two=F("number") * 2)
        ),
        annotations=["two"],
        related={"experiment": ("id", "name"), "worker": (), "rerun_of": ()},
        experiment=KEY,
    )
    with django_assert_num_queries(1):
        first, *_ = read.objects(experiment=experiment.pk)
        assert (first.two, first.experiment.name, first.rerun_of) == (2, experiment.name, None)
        worker = first.worker
    expected = Trial.objects.select_related("worker").get(pk=first.pk).worker
    assert worker == expected and columns_of(worker) == columns_of(expected)
    assert columns_of(first.experiment).keys() == {"id", "name"}


def test_rows_that_refer_to_the_same_row_share_its_object(running: Callable[..., Experiment]) -> None:
    """A list of 50 experiments has the same workspace 50 times."""
    running("first", taken=1), running("second", taken=1)
    read = plain_sql.KeyedRows(
        Trial, lambda keys: Trial.objects.filter(pk__in=keys), related={"worker": (), "experiment": ()}
    )
    trials = read.objects(list(Trial.objects.values_list("pk", flat=True)))
    for trial in trials:
        expected = Trial.objects.select_related("worker", "experiment").get(pk=trial.pk)
        assert (trial.worker, trial.experiment) == (expected.worker, expected.experiment)
    workers = {id(trial.worker) for trial in trials if trial.worker}
    assert (
        len({trial.experiment_id for trial in trials}) == len({id(trial.experiment) for trial in trials}) == 2
    )
    assert len(workers) == 1 and len([trial for trial in trials if trial.worker]) == 2


def test_rows_are_read_by_any_number_of_keys(
    running: Callable[..., Experiment], django_assert_num_queries: Callable[..., CaptureQueriesContext]
) -> None:
    running(taken=2)
    read = plain_sql.KeyedRows(Trial, lambda keys: Trial.objects.filter(pk__in=keys), related={"worker": ()})
    keys = list(Trial.objects.order_by("pk").values_list("pk", flat=True))
    assert len(keys) >= 2
    for chosen in (keys[:1], keys[1:2], keys[:2], keys):
        with django_assert_num_queries(1):
            assert sorted(row.pk for row in read.objects(chosen)) == chosen
    with django_assert_num_queries(0):
        assert read.objects([]) == []
    assert [row.pk for row in read.objects([keys[0], keys[-1] + 1000])] == keys[:1]


@pytest.mark.parametrize("microsecond", [0, 5])
@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-11))]
)
def test_an_instant_is_written_for_sqlite_as_django_writes_it(zone: timezone, microsecond: int) -> None:
    instant = datetime(2026, 3, 29, 1, 59, 59, microsecond, tzinfo=zone)
    operations = DatabaseOperations(connection)
    assert column_values.instant_for_sqlite(instant) == operations.adapt_datetimefield_value(instant)
