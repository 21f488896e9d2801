"""The content of messages: subject and text for people, a JSON document for programs."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.conf import settings

from experiments.charts.drawing.amounts import amount
from experiments.models import Delivery, Experiment, Kind, Occurrence


def subject(occurrence: Occurrence) -> str:
    """Return one sentence: `resnet: new best 0.8147 (+0.0109)`."""
    details = occurrence.details
    if occurrence.kind == Kind.BUDGET and occurrence.experiment is None:
        return f"{details['whose']}: {_used(details)} used this week"[:300]
    if occurrence.experiment is None:
        return f"Worker lost: {details['worker']}"
    headline = {
        Kind.ENDED: lambda: str(details["state"]),
        Kind.NEW_BEST: lambda: f"new best {_new_best(occurrence)}",
        Kind.AUTO_PAUSED: lambda: "auto-paused",
        Kind.NEW_CAUSE: lambda: f"new cause of failure ({details['cause']})",
        Kind.FAILURE_RATE: lambda: f"{occurrence.value:.0f}% of the last {details['trials']} trials failed",
        Kind.BUDGET: lambda: f"{_used(details)} used",
    }[Kind(occurrence.kind)]()
    return f"{occurrence.experiment.name}: {headline}"[:300]


def text(occurrence: Occurrence) -> str:
    """Return one or two sentences, without the link."""
    details, experiment = occurrence.details, occurrence.experiment
    if occurrence.kind == Kind.BUDGET and experiment is None:
        return f"{_capital(_used(details))} used this week. The week ends on Sunday."
    if experiment is None:
        queues = ", ".join(details["queues"])
        return (
            f"No heartbeat for {details['silent_s']:g} s. Its trials are retried on other workers of "
            f"{queues}. Restart the worker."
        )
    if occurrence.kind == Kind.ENDED:
        return _ended(experiment, details)
    if occurrence.kind == Kind.NEW_BEST:
        return f"#{occurrence.trial_number}: {details['metric']} = {_new_best(occurrence)}."
    if occurrence.kind == Kind.AUTO_PAUSED:
        return f"{_capital(details['reason'])}. No new trials start until someone unpauses the experiment."
    if occurrence.kind == Kind.NEW_CAUSE:
        cause, detail = details["cause"], details["detail"]
        reason = cause if detail.casefold() in ("", cause.casefold()) else f"{cause}: {detail}"
        return f"#{occurrence.trial_number}: {reason.rstrip('. ')}. New in this workspace."
    if occurrence.kind == Kind.FAILURE_RATE:
        before = f"{occurrence.previous:.0f}%"
        return f"#{occurrence.trial_number} is the latest failed trial. The failure rate was {before} before."
    return f"{_capital(_used(details))} used. Increase the budget, or let the experiment complete."


def payload(occurrence: Occurrence) -> dict[str, Any]:
    """Return the document of a webhook, without its ID and time."""
    experiment = occurrence.experiment
    document: dict[str, Any] = {"event": occurrence.kind, "at": occurrence.at.isoformat()}
    if experiment is not None:
        document["workspace"] = experiment.workspace.slug
        document["experiment"] = {
            "id": experiment.public_id,
            "name": experiment.name,
            "state": experiment.state,
            "metric": experiment.metric,
            "direction": experiment.direction,
        }
    if occurrence.trial_number is not None:
        document["trial"] = occurrence.trial_number
    for name in ("value", "previous"):
        if getattr(occurrence, name) is not None:
            document[name] = getattr(occurrence, name)
    return {**document, "details": occurrence.details}


def url_of(delivery: Delivery, workspace_slug: str) -> str:
    """Return the address of the page that a message is about; "" where the console does not know its own address."""
    if not settings.CONSOLE_URL:
        return ""
    if delivery.kind == Kind.WORKER_LOST:
        return f"{settings.CONSOLE_URL}/workers/"
    page = "usage" if delivery.kind == Kind.BUDGET else "notifications"
    if delivery.experiment is not None:
        page = f"experiments/{delivery.experiment.public_id}"
    return f"{settings.CONSOLE_URL}/w/{quote(workspace_slug)}/{page}/"


def _ended(experiment: Experiment, details: dict[str, Any]) -> str:
    reason = f"{_capital(details['reason'])}. " if details["reason"] else ""
    counts = f"Trials: {details['succeeded']:,} succeeded, {details['failed']:,} failed."
    if experiment.front_size:
        return f"{reason}{counts} On the Pareto front: {experiment.front_size:,}."
    if details["best"] is None:
        return f"{reason}{counts} No result."
    return f"{reason}{counts} Best {experiment.metric}: {details['best']:.12g} (#{details['best_number']})."


def _new_best(occurrence: Occurrence) -> str:
    value, previous = occurrence.value or 0.0, occurrence.previous or 0.0
    return f"{value:.12g} ({value - previous:+.3g})"


def _used(details: dict[str, Any]) -> str:
    if details["of"] == "trials":
        return f"{details['used']:,} of {details['limit']:,} trials"
    if details["of"] == "slot hours":
        return f"{amount(details['used'])} of {details['limit']:,g} slot hours"
    return f"{amount(details['used'] / 3600)} of {amount(details['limit'] / 3600)} {details['of']}"


def _capital(sentence: str) -> str:
    sentence = sentence.rstrip(". ")
    return sentence[:1].upper() + sentence[1:]
