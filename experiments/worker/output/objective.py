"""The objective value of a trial: from its final results, its intermediate results, or a JSON file that it wrote."""

from __future__ import annotations

from dataclasses import replace

from experiments.models import Failure, Point, Settings, Trial
from experiments.runner import outcome as outcomes
from experiments.runner.output.json_metric import NoMetric
from experiments.runner.report import Report
from experiments.worker.output.metric_file import MetricFile
from experiments.worker.output.reports import TrialReports

NEXT_STEPS = {  # where nothing was reported, by the source of the metric
    "sdk": " Report it with trialdeck, or set a regular expression that reads it from the output.",
    "stdout": " No line of the output matches the regular expression.",
}


def evaluate(reports: TrialReports, file: MetricFile | None) -> float | outcomes.Failure:
    """Return the value for the search (that of the first objective), or why there is none. With several
    objectives, a trial needs a final result of each."""
    settings = reports.settings
    if reports.fault:
        return outcomes.Failure(Failure.BAD_METRIC, outcomes.one_line(f"Invalid metric: {reports.fault}."))
    if file:
        try:
            reports.finals |= {report.name: report for report in file.results()}
            if file.shared and (neighbor_trials := neighbors(reports.trial, everywhere=file.is_on_network())):
                raise file.of_others(neighbor_trials)
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
    if isinstance(value, float) and (fault := _further_fault(reports)):
        value = fault
    if isinstance(value, outcomes.Failure) and value.kind == Failure.NO_METRIC and settings.source == "sdk":
        return _with_reported_names(value, reports)
    return value


def has_final(reports: TrialReports) -> bool:
    """Return whether the trial has reported the final result of its objective, so that no further result is
    expected."""
    settings = reports.settings
    return settings.source == "sdk" and all(name in reports.finals for name in wanted_metrics(settings))


def wanted_metrics(settings: Settings) -> list[str]:
    """Return the metrics for which a trial must report a final result."""
    return [*settings.weights] or [*settings.objectives]


def needs_nothing_stored(reports: TrialReports) -> bool:
    """Return whether `evaluate` needs only the reported final results of an ended trial, and no file."""
    settings = reports.settings
    is_reported = all(name in reports.finals for name in wanted_metrics(settings))
    return settings.selection == "final" and settings.source != "file" and is_reported


def so_far(reports: TrialReports, file: MetricFile | None) -> float | None:
    """Return the value of an early-stopped trial: its selection over what it reported; for `final`, its last value."""
    if reports.settings.selection == "final":
        points = Point.objects.filter(trial=reports.trial.pk, name=reports.settings.metric)
        return points.exclude(value=None).order_by("-step").values_list("value", flat=True).first()
    value = evaluate(reports, file)
    return value if isinstance(value, float) else None


def _further_fault(reports: TrialReports) -> outcomes.Failure | None:
    """Return what is wrong with the results of the further objectives, or None."""
    for name, direction in reports.settings.further_objectives.items():
        value = outcomes.final_value(
            reports.finals.values(), selection="final", direction=direction, objective=name
        )
        if isinstance(value, outcomes.Failure):
            return value
    return None


def neighbors(trial: Trial, *, everywhere: bool) -> list[str]:
    """Return the trials of this experiment that other workers, on this machine or `everywhere`, ran at the same
    time."""
    if trial.worker is None or trial.started_at is None:
        return []
    trials_on_host = Trial.objects.filter(experiment=trial.experiment_id, worker__isnull=False)
    if not everywhere:
        trials_on_host = trials_on_host.filter(worker__host=trial.worker.host)
    overlapping = trials_on_host.exclude(started_at=None).exclude(ended_at__lt=trial.started_at)
    neighbor_trials = overlapping.exclude(worker=trial.worker).order_by("number")[:4]
    return [
        f"{trial.experiment.public_id}-{number}"
        for number in neighbor_trials.values_list("number", flat=True)
    ]


def _with_reported_names(missing: outcomes.Failure, reports: TrialReports) -> outcomes.Failure:
    """Append the names of the metrics that the trial reported or, where it reported nothing, what to do next."""
    required_names = {*reports.settings.weights, *reports.settings.objectives}
    points = Point.objects.filter(trial=reports.trial.pk).exclude(name__in=required_names)
    other_reports = {
        *points.order_by("name").values_list("name", flat=True).distinct()[:6],
        *reports.finals,
    } - required_names
    if not other_reports:
        is_silent = not reports.finals and not Point.objects.filter(trial=reports.trial.pk).exists()
        next_step = NEXT_STEPS.get(reports.settings.source, "") if is_silent else ""
        return replace(missing, detail=outcomes.one_line(f"{missing.detail}{next_step}"))
    listed = ", ".join(sorted(other_reports)[:5]) + (", …" if len(other_reports) > 5 else "")
    return replace(missing, detail=outcomes.one_line(f"{missing.detail} It reported {listed}."))
