"""`GET /metrics`: metrics of the installation for Prometheus. They are read from the database, and histograms from the
broker, on each request, so that all web processes return the same values. Labels contain only names of queues and
states, not of workspaces, experiments or users.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

from django.conf import settings
from django.db.models import Count, Min, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from experiments import database_clock, histograms
from experiments.models import Experiment, Lease, Queue, Trial, Worker, status
from experiments.models.lease import BEAT_S
from experiments.web.ui.query_checks import takes

COUNTERS = {state: f"{state}_count" for state in status.TRIAL_STATES}


@never_cache
@require_safe
@takes()
def metrics(request: HttpRequest) -> HttpResponse:
    """Return all metrics to clients with the token TRIALDECK_METRICS_TOKEN; 404 if none is set."""
    token = settings.METRICS_TOKEN
    if not token:
        return _text("Metrics are off. Set TRIALDECK_METRICS_TOKEN.\n", status=404)
    sent = request.headers.get("Authorization", "")
    if not hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
        response = _text("Send the header Authorization: Bearer with TRIALDECK_METRICS_TOKEN.\n", status=401)
        response["WWW-Authenticate"] = "Bearer"
        return response
    registry = CollectorRegistry(auto_describe=False)
    registry.register(InstallationCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class InstallationCollector(Collector):
    """Collects the metrics in six queries, for any number of trials, experiments, queues and workers."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        now = database_clock.now()
        queues = dict(Queue.objects.values_list("pk", "name"))
        yield from _trials()
        yield from _queues(queues, now)
        yield from _workers(now)
        until = Lease.objects.filter(name="beat").values_list("until", flat=True).first()
        control = until is not None and until > now
        yield GaugeMetricFamily("trialdeck_control_up", "1 while a control process schedules.", value=control)
        if until is not None:
            lag_s = max(0.0, BEAT_S - (until - now).total_seconds())
            text = "Time since the last tick of the scheduler, which ticks every two seconds."
            yield GaugeMetricFamily("trialdeck_scheduler_lag_seconds", text, value=lag_s)
        yield from _histograms()


def _trials() -> Iterator[Metric]:
    """Yield trials by state, from the experiments' counters, so that no trials are counted. Without the trash."""
    sums = Experiment.objects.aggregate(**{state: Sum(name) for state, name in COUNTERS.items()})
    trials = GaugeMetricFamily("trialdeck_trials", "Trials of all experiments.", labels=["state"])
    for state in COUNTERS:
        trials.add_metric([state], sums[state] or 0)
    yield trials


def _queues(names: dict[int, str], now: datetime) -> Iterator[Metric]:
    """Yield, per queue, active experiments, waiting and running trials, and the longest wait for a first trial."""
    pending = Q(started_at=None, running_count=0)
    rows = (
        Experiment.objects.filter(state__in=status.ACTIVE, queue__in=names)
        .order_by()
        .values_list("queue")
        .annotate(
            Count("pk"), Sum("waiting_count"), Sum("running_count"), since=Min("enqueued_at", filter=pending)
        )
    )
    by_queue = {pk: row for pk, *row in rows}
    families = [
        GaugeMetricFamily(f"trialdeck_queue_{name}", text, labels=["queue"])
        for name, text in (
            ("experiments", "Active experiments of the queue."),
            ("waiting_trials", "Trials that wait for a slot."),
            ("running_trials", "Trials that run."),
            ("longest_wait_seconds", "Time since the first pending experiment without a trial was enqueued."),
        )
    ]
    for pk, name in sorted(names.items(), key=lambda item: item[1]):
        experiments, waiting, running, since = by_queue.get(pk, (0, 0, 0, None))
        longest_s = max(0.0, (now - since).total_seconds()) if since else 0.0
        for family, value in zip(families, (experiments, waiting, running, longest_s), strict=True):
            family.add_metric([name], value)
    yield from families


def _workers(now: datetime) -> Iterator[Metric]:
    """Yield workers by state. Slots and busy slots are those of workers with a heartbeat."""
    states = Counter({"up": 0, "draining": 0, "late": 0, "gone": 0})
    slots, present = 0, []
    for worker in Worker.objects.listed():
        if worker.gone_at:
            states["gone"] += 1
            continue
        is_late = (now - worker.heard_at).total_seconds() > worker.lease_s / 2
        states["late" if is_late else "draining" if worker.takes_no_trials else "up"] += 1
        slots += worker.slots
        present.append(worker.pk)
    busy = Trial.everything.filter(worker__in=present, state__in=status.TRIAL_ALIVE).count()
    workers = GaugeMetricFamily(
        "trialdeck_workers", "Workers; late: no heartbeat for half of the lease.", labels=["state"]
    )
    for state, count in states.items():
        workers.add_metric([state], count)
    yield workers
    yield GaugeMetricFamily("trialdeck_slots", "Slots of the workers that are online.", value=slots)
    yield GaugeMetricFamily("trialdeck_slots_busy", "Slots in which a trial runs.", value=busy)


def _histograms() -> Iterator[Metric]:
    """Yield the histograms of all processes, in one round trip to the broker; none without a broker."""
    histograms.flush()  # this process's counts, so that requests answered just before are included
    counted = histograms.read()
    text = "1 while this process reaches the broker."
    yield GaugeMetricFamily("trialdeck_broker_up", text, value=counted is not None)
    for histogram, by_labels in (counted or {}).items():
        family = HistogramMetricFamily(histogram.name, histogram.text, labels=histogram.labels)
        bounds = [*(f"{bound:g}" for bound in histogram.bounds), "+Inf"]
        for labels, counts in sorted(by_labels.items()):
            family.add_metric(labels, list(zip(bounds, counts.up_to, strict=True)), sum_value=counts.sum_s)
        yield family


def _text(text: str, *, status: int) -> HttpResponse:
    return HttpResponse(text, status=status, content_type="text/plain")
