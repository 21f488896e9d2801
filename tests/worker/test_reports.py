"""What a trial reports much of is stored in parts, so that others can write in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection

from experiments.models import Experiment, Point, Trial
from experiments.runner.dialects.native import MetricsReader
from experiments.runner.output.log import LogReader
from experiments.runner.output.masking import Masker
from experiments.worker.output import reports as reporting
from experiments.worker.output.reports import BUCKET, MOST_POINTS, TrialReports, store, thinned

STEPS = 10_000


@pytest.fixture
def reports(running: Callable[..., Experiment], tmp_path: Path) -> TrialReports:
    """Those of a running trial with many points."""
    trial = Trial.objects.select_related("experiment", "revision").get(
        experiment=running(taken=1), state="running"
    )
    file = tmp_path / "metrics.jsonl"
    points = ({"name": "loss", "step": step, "value": step / 7} for step in range(STEPS))
    file.write_text("".join(json.dumps(point) + "\n" for point in points))
    reports = TrialReports(trial, Masker(set()))
    reports.start([MetricsReader(file, "accuracy", below=tmp_path)], LogReader(tmp_path / "log"))
    return reports


def test_no_statement_stores_more_points_than_are_meant(reports: TrialReports) -> None:
    """TD-X8: on SQLite, all other writers wait for a transaction."""
    sizes = []

    def note(execute: Callable, sql: str, params: list, many: bool, context: object) -> object:
        if sql.startswith(f"INSERT INTO {Point._meta.db_table} "):
            sizes.append(len(params) if many else len(params[0]))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        while store([reports]):
            pass
    points = Point.objects.filter(trial=reports.trial.pk).order_by("step")
    assert list(points.values_list("step", "value")) == [(step, step / 7) for step in range(STEPS)]
    assert sum(sizes) == STEPS
    assert MOST_POINTS // 2 < max(sizes) <= MOST_POINTS


def test_a_trial_that_is_behind_says_so_until_it_is_not(
    reports: TrialReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live pages then show older points than there are."""

    def notes() -> list[str]:
        return Trial.objects.values_list("notes", flat=True).get(pk=reports.trial.pk)

    monkeypatch.setattr(reporting, "BEHIND_S", -1)
    assert store([reports])
    assert notes() == ["Metrics and log are 0 s behind."]
    monkeypatch.undo()
    while store([reports]):
        pass
    assert notes() == []


def test_a_trial_that_stays_behind_is_thinned_and_says_so(
    reports: TrialReports, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-X8: instead of falling behind for minutes. Nothing is lost that a curve or an extreme shows."""
    reports.has_rule = False
    monkeypatch.setattr(reporting, "READ_BYTES", 64 * 1024)
    monkeypatch.setattr(reporting, "THIN_READ_BYTES", 128 * 1024)
    assert store([reports])
    whole = Point.objects.filter(trial=reports.trial.pk).count()
    monkeypatch.setattr(reporting, "THIN_S", -1)
    while store([reports]):
        pass
    points = Point.objects.filter(trial=reports.trial.pk)
    left_out = STEPS - points.count()
    assert (STEPS - whole) * 0.88 < left_out < (STEPS - whole) * 0.91
    assert points.filter(step__lt=whole).count() == whole, "what was stored before stays"
    assert points.get(step=STEPS - 1).value == (STEPS - 1) / 7
    notes = Trial.objects.values_list("notes", flat=True).get(pk=reports.trial.pk)
    assert notes[0].startswith(f"{left_out:,} points were left out, because the trial reports faster")


def test_thinning_keeps_extremes_the_end_and_what_a_rule_compares() -> None:
    """Of each series by itself, in the order of the reports; nan and infinities stay visible."""

    def rows(name: str, values: list[float | None]) -> list[tuple]:
        return [
            (1, name, step, value, "" if value is not None else "nan", 0.0)
            for step, value in enumerate(values)
        ]

    wave = [float(n % 7) for n in range(BUCKET)]
    wave[3], wave[11] = -50.0, 90.0
    mixed = [0.0] * 5 + [None] * 3 + [0.0] * 4
    points = [*rows("wave", wave), *rows("mixed", mixed), *rows("kept", [1.0] * 30)]
    by_series: dict[str, list[int]] = {"wave": [], "mixed": [], "kept": []}
    for row in thinned(points, whole="kept"):
        by_series[row[1]].append(row[2])
    assert by_series == {"wave": [3, 11, BUCKET - 1], "mixed": [0, 7, 11], "kept": list(range(30))}


def test_points_have_the_time_since_the_start_of_their_trial(
    reports: TrialReports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TD-C5: as the trial reported it; where it did not, or impossibly, as the worker read it."""
    began, moments = 1_764_460_800.0, {0: 0.25, 1: 39.5, 2: -5, 3: 500, 4: None, 5: 40.75}
    lines = ({"value": 1, "step": n, "time": s and began + s} for n, s in moments.items())
    file = tmp_path / "timed.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def stored(began_at: float | None) -> dict[int, float | None]:
        monkeypatch.setattr(reporting.time, "time", lambda: began)
        monkeypatch.setattr(reporting, "_steady_s", lambda: 1000.0)
        timed = TrialReports(reports.trial, Masker(set()), began_at=began_at)
        timed.start([MetricsReader(file, "accuracy", below=tmp_path)], LogReader(tmp_path / "log"))
        monkeypatch.setattr(reporting, "_steady_s", lambda: 1040.0)
        store([timed])
        points = Point.objects.filter(trial=reports.trial.pk, name="accuracy")
        return dict(points.values_list("step", "elapsed_s"))

    assert stored(None) == {0: 0.25, 1: 39.5, 2: 40.0, 3: 40.0, 4: 40.0, 5: 40.75}
    Point.objects.all().delete()
    assert stored(began) == {0: 0.25, 1: 39.5, 2: None, 3: 500.0, 4: None, 5: 40.75}, "after the worker's end"
