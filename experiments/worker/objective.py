"""The objective value of a trial: from its final results, its intermediate results, or a JSON file that it wrote."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from experiments.models import Failure, Point
from experiments.runner import outcome as outcomes
from experiments.runner.output.json_metric import NoMetric, Version, Writers, read_json_metric
from experiments.runner.report import Report
from experiments.worker.reports import TrialReports


@dataclass(frozen=True)
class MetricFile:
    """The JSON file with the metric.

    No link is followed in the folder `below`. `before` is the file's version before the trial started, None if it did
    not exist; `trial_folder` is the folder that only this trial writes to; `writers` knows which trial wrote other
    files.
    """

    path: Path
    below: Path
    before: Version | None
    trial_folder: Path
    writers: Writers

    def read(self, reports: TrialReports, *, claims: bool) -> None:
        """Read the final results from the file if this trial wrote it. Raise NoMetric.

        `claims`: this version of the file then counts for this trial, and for no other that shares its directory.
        """
        settings, trial = reports.settings, str(reports.trial)
        version = Version.of(self.path, below=self.below)
        if version and not version.is_written_since(self.before):
            raise NoMetric(f"The trial did not write {self.path.name}: the file is older than the trial.")
        for name in settings.weights or [settings.metric]:
            reports.finals[name] = read_json_metric(self.path, name, below=self.below)
        if version and claims and not self.path.is_relative_to(self.trial_folder):
            writer = self.writers.claim(self.path, version, trial)
            if writer != trial:
                raise NoMetric(
                    f"The trial did not write {self.path.name}: it is the file that {writer} wrote in the same "
                    "directory."
                )


def evaluate(
    reports: TrialReports, file: MetricFile | None, *, has_succeeded: bool = False
) -> float | outcomes.Failure:
    """Return the value that the search uses, or why there is none. `has_succeeded`: the process exited with 0."""
    settings = reports.settings
    if reports.fault:
        return outcomes.Failure(Failure.BAD_METRIC, outcomes.one_line(f"Invalid metric: {reports.fault}."))
    if file:
        try:
            file.read(reports, claims=has_succeeded)
        except NoMetric as missing:
            kind = Failure.BAD_METRIC if missing.is_bad else Failure.NO_METRIC
            return outcomes.Failure(kind, outcomes.one_line(str(missing)))
    results = list(reports.finals.values())
    if settings.selection != "final":
        names = list(settings.weights) or [settings.metric]
        points = Point.objects.filter(trial=reports.trial.pk, name__in=names).order_by("name", "step")
        rows = points.values_list("name", "step", "value", "text")
        results = [Report(*row) for row in rows.iterator(chunk_size=5000)] + results
    value = outcomes.final_value(
        results,
        selection=settings.selection,
        direction=settings.direction,
        objective=settings.metric,
        weights=settings.weights or None,
    )
    if isinstance(value, outcomes.Failure) and value.kind == Failure.NO_METRIC and settings.source == "sdk":
        return _with_reported_names(value, reports)
    return value


def so_far(reports: TrialReports, file: MetricFile | None) -> float | None:
    """Return the value of an early-stopped trial: its selection over what it reported; for `final`, its last value."""
    if reports.settings.selection == "final":
        points = Point.objects.filter(trial=reports.trial.pk, name=reports.settings.metric)
        return points.exclude(value=None).order_by("-step").values_list("value", flat=True).first()
    value = evaluate(reports, file)
    return value if isinstance(value, float) else None


def _with_reported_names(missing: outcomes.Failure, reports: TrialReports) -> outcomes.Failure:
    """Add the names of the metrics that the trial did report."""
    wanted = {*reports.settings.weights, reports.settings.metric}
    points = Point.objects.filter(trial=reports.trial.pk).exclude(name__in=wanted)
    others = {
        *points.order_by("name").values_list("name", flat=True).distinct()[:6],
        *reports.finals,
    } - wanted
    if not others:
        return missing
    listed = ", ".join(sorted(others)[:5]) + (", …" if len(others) > 5 else "")
    return replace(missing, detail=outcomes.one_line(f"{missing.detail} It reported {listed}."))
