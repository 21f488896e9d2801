"""Preview of an edit: the differences, the consequences for trials, and the estimates before and after."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from experiments import database_clock
from experiments.messages import YEAR_S, Consequence, consequences
from experiments.models import Experiment, ExperimentState, Settings, status
from experiments.scheduler.estimate import Estimate
from experiments.scheduler.impact import Consequences, impact_of
from experiments.web.experiment.forms.edit_form import EditForm
from experiments.web.ui.estimates import span_range

from .settings_diff import Change, changes

SOON_S = 900  # an end within this is shown as a time span from now, a later one as a time of day

Range = tuple[float, float]


@dataclass(frozen=True)
class EstimateView:
    """An estimate as the page shows it: times of day, or a span when the end is near or more than a year ahead, or the
    experiment is paused."""

    unknown: str = ""
    compute: Range | None = None
    moments: tuple[datetime, datetime] | None = None
    latest: datetime | None = None
    span: str = ""
    latest_span: float | None = None


@dataclass(frozen=True)
class ChangePreview:
    """What saving these settings would change. There are an `impact` and estimates only while trials may run."""

    settings: Settings
    changes: list[Change]
    is_revised: bool
    impact: Consequences | None = None
    sentences: list[Consequence] | None = None
    before: EstimateView | None = None
    after: EstimateView | None = None


def change_preview(form: EditForm) -> ChangePreview | None:
    """Return the preview of a form; None while the form has errors."""
    settings = form.settings if form.is_bound else form.settings or form.current
    if settings is None:
        return None
    experiment, queue = form.experiment, form.new_queue
    differences = changes(form.current, settings)
    moved = [Change("Queue", str(experiment.queue or ""), queue.name)] if queue else []
    if not (form.is_update and experiment.state in status.UNDER_WAY):
        return ChangePreview(settings, [*differences, *moved], is_revised=bool(differences))
    impact = impact_of(experiment, settings, queue=queue)
    return ChangePreview(
        settings,
        [*differences, *moved],
        is_revised=bool(differences),
        impact=impact,
        sentences=consequences(
            experiment,
            settings,
            impact,
            moves_to=queue,
            stop_surplus=bool(form["stop_surplus"].value()),
            apply_to_running=bool(form["apply_to_running"].value()),
        ),
        before=_view(experiment, impact.before),
        after=_view(experiment, impact.after),
    )


def _view(experiment: Experiment, estimate: Estimate) -> EstimateView:
    unknown, compute = estimate.unknown, estimate.compute_s
    is_span = estimate.end_s is not None and not SOON_S <= estimate.end_s[1] <= YEAR_S
    if experiment.state == ExperimentState.PAUSED or is_span:
        span = span_range(estimate.end_s) if estimate.end_s else ""
        return EstimateView(unknown, compute, span=span, latest_span=estimate.latest_s)
    now = database_clock.now()
    moments = latest = None
    if estimate.end_s:
        moments = (now + timedelta(seconds=estimate.end_s[0]), now + timedelta(seconds=estimate.end_s[1]))
    if estimate.latest_s is not None:
        latest = now + timedelta(seconds=estimate.latest_s)
    return EstimateView(unknown, compute, moments=moments, latest=latest)
