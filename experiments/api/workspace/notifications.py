"""Notifications: rules, channels and deliveries of a workspace."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from django.http import Http404
from ninja import Query, Router
from ninja.responses import Status
from pydantic import BaseModel, Field

from experiments.api import schemas
from experiments.api.experiment.experiments import find as find_experiment
from experiments.api.protocol.auth import ApiRequest
from experiments.api.protocol.errors import BadRequest
from experiments.api.protocol.pagination import DEFAULT_LIMIT, Cursor, Key, Limit, PageData, page
from experiments.api.serialization import RequestBody, responses, time_of
from experiments.models import Channel, Delivery, Invalid, Rule, SavedView, Workspace
from experiments.models.notifications.channel import MAX_ADDRESS, MAX_NAME
from experiments.models.notifications.rule import MAX_FILTER
from experiments.permissions import may, require
from experiments.scheduler.notifications.fan_out import Week
from experiments.scheduler.notifications.selection import check_filter

from . import workspaces

router = Router(tags=["Notifications"])

BASE = "/workspaces/{slug:workspace}/notifications"
RULES, CHANNELS, DELIVERIES = f"{BASE}/rules", f"{BASE}/channels", f"{BASE}/deliveries"
RULE_PATH, CHANNEL_PATH = RULES + "/{int:rule}", CHANNELS + "/{int:channel}"
DELIVERY_PATH = DELIVERIES + "/{int:delivery}"

EventName = Literal["ended", "new_best", "auto_paused", "failure_rate", "worker_lost", "new_cause", "budget"]
ScopeName = Literal[
    "mine", "pinned", "followed", "experiment", "project", "tag", "view", "filter", "workspace"
]
EndingName = Literal["completed", "with_failures", "failed", "stopped"]
FrequencyName = Literal["always", "hourly", "daily"]
RELATED = ("workspace", "owner", "experiment", "project", "view__owner")
OF_WORKSPACE = "Whether it belongs to the workspace instead of you; owners only."


class RuleOut(BaseModel):
    """A rule: which events are reported, for which experiments, and through which channels."""

    id: int
    event: EventName
    scope: ScopeName
    experiment: str | None = Field(description="ID; null if you cannot view the experiment.")
    project: int | None
    tag: str
    view: int | None = Field(description="ID of a saved view; null if it was deleted or is no longer shared.")
    filter: str
    endings: list[EndingName] = Field(description="Outcomes that event `ended` reports; empty: all.")
    threshold: float | None = Field(
        description="Minimum improvement of a new best, or share of failures in percent."
    )
    frequency: FrequencyName
    is_on: bool
    is_of_workspace: bool
    channels: list[int]


class NewRule(RequestBody):
    """A rule to create."""

    event: EventName
    channels: list[int] = Field(description="IDs of your channels, or of the workspace's.", max_length=20)
    scope: ScopeName = "workspace"
    experiment: str | None = Field(None, max_length=20, description="With scope `experiment`: its ID.")
    project: int | None = Field(None, description="With scope `project`: its ID.")
    tag: str = Field("", max_length=50, description="With scope `tag`.")
    view: int | None = Field(
        None,
        description="With scope `view`: ID of a saved view of the list of experiments, your own or shared.",
    )
    filter: str = Field(
        "", max_length=MAX_FILTER, description="With scope `filter`, as in the list of experiments."
    )
    endings: list[EndingName] = Field(
        [], max_length=4, description="With event `ended`: outcomes; empty: all."
    )
    threshold: float | None = None
    frequency: FrequencyName = "hourly"
    is_on: bool = True
    is_of_workspace: bool = Field(False, description=OF_WORKSPACE)


class RuleChanges(RequestBody):
    """Fields to change; omitted fields keep their values."""

    is_on: bool | None = None
    endings: list[EndingName] | None = Field(
        None, max_length=4, description="None in the list: all outcomes."
    )
    threshold: float | None = None
    frequency: FrequencyName | None = None


class PreviewOut(BaseModel):
    """What a rule would have sent in the last seven days."""

    count: int
    merged: int = Field(description="Further messages that were merged into an earlier one.")
    fired_at: list[datetime]


class ChannelOut(BaseModel):
    """A destination of messages. Its address is never returned."""

    id: int
    kind: Literal["email", "webhook", "slack", "browser"]
    name: str
    hint: str = Field(description="The part of the address that may be shown.")
    is_of_workspace: bool


class CreatedChannel(ChannelOut):
    """A new channel."""

    secret: str | None = Field(description="Signs the messages of a webhook; shown only once.")


class NewChannel(RequestBody):
    """A channel to create."""

    kind: Literal["email", "webhook", "slack", "browser"]
    name: str = Field(max_length=MAX_NAME)
    address: str = Field(
        "",
        max_length=MAX_ADDRESS,
        description="URL; for an email channel of the workspace, an email address.",
    )
    is_of_workspace: bool = Field(False, description=OF_WORKSPACE)


class ChannelChanges(RequestBody):
    """Fields to change; omitted fields keep their values."""

    name: str | None = Field(None, max_length=MAX_NAME)


class DeliveryOut(BaseModel):
    """A message, and its status."""

    id: int
    message_id: str = Field(description="ID sent to the receiver; the same in every attempt.")
    event: str
    channel: int
    rule: int | None
    subject: str
    status: Literal["queued", "sent", "failed", "canceled", "merged"]
    is_held: bool = Field(description="Whether it waits until `next_at` for a summary.")
    summary: int | None = Field(description="Delivery that contains it, if it was merged into a summary.")
    attempts: int
    error: str = Field(description="Of the last attempt.")
    created_at: datetime
    next_at: datetime | None = Field(description="Time of the next attempt.")
    sent_at: datetime | None


@router.get(RULES, response=responses(schemas.Page[RuleOut]), summary="List notification rules")
def rules(
    request: ApiRequest, workspace: str, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """Your own rules and those of the workspace, by ID."""
    rows = _rules(request, workspaces.find(request, workspace)).order_by()
    return page(rows, Key("pk"), list_name="rules", cursor=cursor, limit=limit, serialize=_rule)


@router.post(RULES, response=responses(RuleOut, 201, may_conflict=True), summary="Create a notification rule")
def make_rule(request: ApiRequest, workspace: str, request_body: NewRule) -> Status:
    """Every member may create their own rules. A rule reports only what the token may see."""
    row = workspaces.find(request, workspace)
    require(request.user, "manage" if request_body.is_of_workspace else "view", row)
    owner = None if request_body.is_of_workspace else request.user
    fields = request_body.model_dump(exclude={"event", "is_of_workspace"})
    fields["experiment"] = _experiment(request, row, request_body.experiment)
    fields["project"] = _project(row, request_body.project)
    fields["view"] = _view(row, request, request_body.view)
    if request_body.scope == "filter":
        check_filter(request_body.filter, owner)
    fields["channels"] = _chosen(Channel.objects.of(row, owner), request_body.channels)
    return Status(201, _rule(Rule.create(row, owner=owner, kind=request_body.event, **fields)))


@router.get(RULE_PATH, response=responses(RuleOut), summary="Read a notification rule")
def read_rule(request: ApiRequest, workspace: str, rule: int) -> dict[str, Any]:
    return _rule(_find_rule(request, workspace, rule))


@router.patch(RULE_PATH, response=responses(RuleOut, may_conflict=True), summary="Change a notification rule")
def change_rule(request: ApiRequest, workspace: str, rule: int, request_body: RuleChanges) -> dict[str, Any]:
    """Your own rules; owners change those of the workspace, too."""
    row = _find_rule(request, workspace, rule)
    require(request.user, "view" if row.owner_id else "manage", row.workspace)
    if request_body.model_fields_set == {"is_on"} and request_body.is_on is not None:
        row.switch(is_on=request_body.is_on)
        return _rule(row)
    row.change(
        experiment=row.experiment,
        project=row.project,
        tag=row.tag,
        view=row.view,
        filter=row.filter,
        endings=row.endings if request_body.endings is None else request_body.endings,
        threshold=request_body.threshold if "threshold" in request_body.model_fields_set else row.threshold,
        frequency=request_body.frequency,
        is_on=request_body.is_on,
    )
    return _rule(row)


@router.delete(RULE_PATH, response=responses(None, 204), summary="Delete a notification rule")
def delete_rule(request: ApiRequest, workspace: str, rule: int) -> Status:
    """Your own rules; owners delete those of the workspace, too."""
    row = _find_rule(request, workspace, rule)
    require(request.user, "view" if row.owner_id else "manage", row.workspace)
    row.delete()
    return Status(204, None)


@router.get(RULE_PATH + "/preview", response=responses(PreviewOut), summary="Preview a notification rule")
def preview_rule(request: ApiRequest, workspace: str, rule: int) -> dict[str, Any]:
    """What the rule would have sent in the last seven days."""
    row = _find_rule(request, workspace, rule)
    replay = Week(row.workspace, request.user).of(row)
    return {"count": len(replay.fired), "merged": replay.merged, "fired_at": [*map(time_of, replay.fired)]}


@router.get(CHANNELS, response=responses(schemas.Page[ChannelOut]), summary="List notification channels")
def channels(
    request: ApiRequest, workspace: str, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
) -> PageData:
    """Your own channels, and for owners those of the workspace, by ID."""
    rows = _channels(request, workspaces.find(request, workspace)).order_by()
    return page(rows, Key("pk"), list_name="channels", cursor=cursor, limit=limit, serialize=_channel)


@router.post(
    CHANNELS,
    response=responses(CreatedChannel, 201, may_conflict=True),
    summary="Create a notification channel",
)
def make_channel(request: ApiRequest, workspace: str, request_body: NewChannel) -> Status:
    """Only this response contains the secret of a signed webhook. For signed webhooks, an Idempotency-Key is refused,
    because its response would be stored."""
    if request_body.kind == "webhook" and "Idempotency-Key" in request.headers:
        raise BadRequest(
            "Create a signed webhook without an Idempotency-Key: the stored response would contain its secret."
        )
    row = workspaces.find(request, workspace)
    require(request.user, "manage" if request_body.is_of_workspace else "view", row)
    owner = None if request_body.is_of_workspace else request.user
    fields = request_body.model_dump(exclude={"is_of_workspace"})
    channel, secret = Channel.create(row, owner=owner, **fields)
    return Status(201, {**_channel(channel), "secret": secret or None})


@router.get(CHANNEL_PATH, response=responses(ChannelOut), summary="Read a notification channel")
def read_channel(request: ApiRequest, workspace: str, channel: int) -> dict[str, Any]:
    return _channel(_find_channel(request, workspace, channel))


@router.patch(CHANNEL_PATH, response=responses(ChannelOut), summary="Change a notification channel")
def change_channel(
    request: ApiRequest, workspace: str, channel: int, request_body: ChannelChanges
) -> dict[str, Any]:
    row = _find_channel(request, workspace, channel)
    row.change(**request_body.model_dump())
    return _channel(row)


@router.delete(CHANNEL_PATH, response=responses(None, 204), summary="Delete a notification channel")
def delete_channel(request: ApiRequest, workspace: str, channel: int) -> Status:
    """Delete the channel and its deliveries."""
    _find_channel(request, workspace, channel).delete()
    return Status(204, None)


@router.post(
    CHANNEL_PATH + "/test",
    response=responses(DeliveryOut, 201, may_conflict=True),
    summary="Send a test message",
)
def test_channel(request: ApiRequest, workspace: str, channel: int) -> Status:
    """Queue a test message. Read the delivery to see its status."""
    row = _find_channel(request, workspace, channel)
    return Status(201, _delivery(Delivery.test(row, by=request.user)))


@router.get(DELIVERIES, response=responses(schemas.Page[DeliveryOut]), summary="List deliveries")
def deliveries(
    request: ApiRequest,
    workspace: str,
    status: Literal["queued", "sent", "failed", "canceled", "merged"] | None = Query(None),
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> PageData:
    """Messages of the last 30 days, newest first: of your channels and, for owners, of the workspace's channels."""
    rows = _deliveries(request, workspaces.find(request, workspace))
    rows = rows.filter(status=status) if status else rows
    return page(
        rows.order_by(),
        Key("pk", descending=True),
        list_name=f"deliveries {status}",
        cursor=cursor,
        limit=limit,
        serialize=_delivery,
    )


@router.get(DELIVERY_PATH, response=responses(DeliveryOut), summary="Read a delivery")
def read_delivery(request: ApiRequest, workspace: str, delivery: int) -> dict[str, Any]:
    return _delivery(_find_delivery(request, workspace, delivery))


@router.post(
    DELIVERY_PATH + "/send", response=responses(DeliveryOut, may_conflict=True), summary="Send again"
)
def send_again(request: ApiRequest, workspace: str, delivery: int) -> dict[str, Any]:
    """Send a message again that failed or is waiting for its next attempt."""
    row = _find_delivery(request, workspace, delivery)
    row.send_again()
    row.refresh_from_db()
    return _delivery(row)


def _rules(request: ApiRequest, workspace: Workspace) -> Any:
    rows = Rule.objects.visible_to(request.user).filter(workspace=workspace)
    return rows.select_related(*RELATED).prefetch_related("channels")


def _channels(request: ApiRequest, workspace: Workspace) -> Any:
    is_owner = may(request.user, "manage", workspace)
    user = request.user
    rows = Channel.objects.usable_by(workspace, user) if is_owner else Channel.objects.of(workspace, user)
    return rows.select_related("workspace", "owner")


def _deliveries(request: ApiRequest, workspace: Workspace) -> Any:
    is_owner = may(request.user, "manage", workspace)
    return Delivery.objects.visible_to(request.user, workspace, is_owner=is_owner)


def _find_rule(request: ApiRequest, slug: str, key: int) -> Rule:
    return _row_of(_rules(request, workspaces.find(request, slug)), key)


def _find_channel(request: ApiRequest, slug: str, key: int) -> Channel:
    row: Channel = _row_of(_channels(request, workspaces.find(request, slug)), key)
    require(request.user, "view" if row.owner_id else "manage", row.workspace)
    return row


def _find_delivery(request: ApiRequest, slug: str, key: int) -> Delivery:
    row = workspaces.find(request, slug)
    require(request.user, "view", row)
    return _row_of(_deliveries(request, row), key)


def _row_of(rows: Any, key: int) -> Any:
    row = rows.filter(pk=key).first() if key < 2**63 else None
    if row is None:
        raise Http404
    return row


def _experiment(request: ApiRequest, workspace: Workspace, public_id: str | None) -> Any:
    if not public_id:
        return None
    experiment = find_experiment(request, public_id.replace("\0", ""))
    if experiment.workspace_id != workspace.pk:
        raise Http404
    return experiment


def _project(workspace: Workspace, key: int | None) -> Any:
    return workspace.projects.filter(pk=key).first() if key is not None and abs(key) < 2**63 else None


def _view(workspace: Workspace, request: ApiRequest, key: int | None) -> SavedView | None:
    if key is None or abs(key) >= 2**63:
        return None
    return SavedView.objects.of_table(workspace, None).visible_to(request.user).filter(pk=key).first()


def _chosen(rows: Any, keys: list[int]) -> list[Channel]:
    chosen = {row.pk: row for row in rows}
    if unknown := [str(key) for key in keys if key not in chosen]:
        raise Invalid({"channels": [f"Unknown channels: {', '.join(unknown)}."]})
    return [chosen[key] for key in dict.fromkeys(keys)]


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.pk,
        "event": rule.kind,
        "scope": rule.scope,
        "experiment": rule.experiment.public_id if rule.experiment and rule.shows_experiment else None,
        "project": rule.project_id,
        "tag": rule.tag,
        "view": rule.view_id if rule.sees_view else None,
        "filter": rule.filter,
        "endings": rule.endings,
        "threshold": rule.threshold,
        "frequency": rule.frequency,
        "is_on": rule.is_on,
        "is_of_workspace": rule.owner_id is None,
        "channels": [channel.pk for channel in rule.channels.all()],
    }


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "id": channel.pk,
        "kind": channel.kind,
        "name": channel.name,
        "hint": channel.shown_address,
        "is_of_workspace": channel.owner_id is None,
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.pk,
        "message_id": str(delivery.message_id),
        "event": delivery.kind,
        "channel": delivery.channel_id,
        "rule": delivery.rule_id,
        "subject": delivery.subject,
        "status": delivery.status,
        "is_held": delivery.is_held,
        "summary": delivery.summary_id,
        "attempts": delivery.attempts,
        "error": delivery.error,
        "created_at": time_of(delivery.created_at),
        "next_at": time_of(delivery.next_at),
        "sent_at": time_of(delivery.sent_at),
    }
