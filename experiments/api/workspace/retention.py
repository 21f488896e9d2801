"""Retention rules of a workspace and of the installation, each with a preview of what it removes."""

from __future__ import annotations

from typing import Any

from django.http import Http404
from ninja import Router, Status
from pydantic import BaseModel, Field

from experiments.api.protocol.auth import ApiRequest
from experiments.api.serialization import responses, time_of
from experiments.models import Part, RetentionRule, Workspace
from experiments.permissions import require, require_administrator

from . import workspaces

WORKSPACE = "/workspaces/{slug:workspace}/retention"
INSTALLATION = "/retention"

router = Router(tags=["Workspaces"])


class RuleIn(BaseModel):
    """What to remove of trials that ended `after_days` days ago in one of `states`, except for the `keep_best` best of
    each experiment."""

    after_days: int
    states: list[str] = Field(description="Of `succeeded`, `stopped`, `early_stopped`, `failed`.")
    keep_best: int = 0


class PreviewOut(BaseModel):
    """What the rule would remove now. `at`: when it was computed; null while control computes it."""

    at: str | None
    trials: int
    bytes: int
    oldest: str | None = Field(description="When the oldest of these trials ended.")


class RetentionRuleOut(RuleIn):
    """A rule, which removes data only while it is on. Control computes the preview in the background."""

    part: str = Field(description="`folder`, `log`, `points` or `events`.")
    is_on: bool
    changed_at: str
    by: str | None
    preview: PreviewOut


class RetentionOut(BaseModel):
    """The rules, at most one per part. `defaults` are the installation's, which apply to parts without a rule."""

    rules: list[RetentionRuleOut]
    defaults: list[RetentionRuleOut]


class RuleChanged(BaseModel):
    """The rule after an action. `changed` is false if it already was in that state."""

    changed: bool
    rule: RetentionRuleOut


class Seen(BaseModel):
    """`at` of the preview that you have seen."""

    seen: str


@router.get(WORKSPACE, response=responses(RetentionOut), summary="Read retention rules of a workspace")
def of_workspace(request: ApiRequest, workspace: str) -> dict[str, Any]:
    """Owners only."""
    row = _workspace(request, workspace)
    return {"rules": _rules(row), "defaults": _rules(None)}


@router.get(
    INSTALLATION, response=responses(RetentionOut), summary="Read retention rules of the installation"
)
def of_installation(request: ApiRequest) -> dict[str, Any]:
    """Administrators only. Here `rules` and `defaults` are the same."""
    require_administrator(request.user)
    return {"rules": (rules := _rules(None)), "defaults": rules}


@router.post(WORKSPACE + "/{part}", response=responses(RetentionRuleOut), summary="Set a retention rule")
def put(request: ApiRequest, workspace: str, part: str, body: RuleIn) -> dict[str, Any]:
    """Replace the rule of this part. It is off until you have seen its preview. Owners only."""
    return _put(request, _workspace(request, workspace), part, body)


@router.post(
    INSTALLATION + "/{part}", response=responses(RetentionRuleOut), summary="Set a default retention rule"
)
def put_default(request: ApiRequest, part: str, body: RuleIn) -> dict[str, Any]:
    """Replace the default of this part. It is off until you have seen its preview. Administrators only."""
    require_administrator(request.user)
    return _put(request, None, part, body)


@router.post(
    WORKSPACE + "/{part}/on",
    response=responses(RuleChanged, may_conflict=True),
    summary="Switch a retention rule on",
)
def switch_on(request: ApiRequest, workspace: str, part: str, body: Seen) -> dict[str, Any]:
    """Removal begins within the hour. 409 if `seen` is not the current preview. Owners only."""
    rule = _find(_workspace(request, workspace), part)
    return _changed(rule, rule.switch_on(seen=body.seen, by=request.user))


@router.post(
    INSTALLATION + "/{part}/on",
    response=responses(RuleChanged, may_conflict=True),
    summary="Switch a default retention rule on",
)
def switch_default_on(request: ApiRequest, part: str, body: Seen) -> dict[str, Any]:
    """Removal begins within the hour. 409 if `seen` is not the current preview. Administrators only."""
    require_administrator(request.user)
    rule = _find(None, part)
    return _changed(rule, rule.switch_on(seen=body.seen, by=request.user))


@router.post(
    WORKSPACE + "/{part}/off", response=responses(RuleChanged), summary="Switch a retention rule off"
)
def switch_off(request: ApiRequest, workspace: str, part: str) -> dict[str, Any]:
    """Nothing more is removed. Owners only."""
    rule = _find(_workspace(request, workspace), part)
    return _changed(rule, rule.switch(is_on=False, by=request.user))


@router.post(
    INSTALLATION + "/{part}/off",
    response=responses(RuleChanged),
    summary="Switch a default retention rule off",
)
def switch_default_off(request: ApiRequest, part: str) -> dict[str, Any]:
    """Nothing more is removed. Administrators only."""
    require_administrator(request.user)
    rule = _find(None, part)
    return _changed(rule, rule.switch(is_on=False, by=request.user))


@router.delete(WORKSPACE + "/{part}", response=responses(None, 204), summary="Delete a retention rule")
def delete(request: ApiRequest, workspace: str, part: str) -> Status:
    """The installation's default then applies to this part. Owners only."""
    return _delete(request, _find(_workspace(request, workspace), part))


@router.delete(
    INSTALLATION + "/{part}", response=responses(None, 204), summary="Delete a default retention rule"
)
def delete_default(request: ApiRequest, part: str) -> Status:
    """Administrators only."""
    require_administrator(request.user)
    return _delete(request, _find(None, part))


def _workspace(request: ApiRequest, slug: str) -> Workspace:
    row = workspaces.find(request, slug)
    require(request.user, "manage", row)
    return row


def _find(workspace: Workspace | None, part: str) -> RetentionRule:
    rule = RetentionRule.objects.of(workspace).select_related("by").filter(part=part).first()
    if rule is None:
        raise Http404
    return rule


def _put(request: ApiRequest, workspace: Workspace | None, part: str, body: RuleIn) -> dict[str, Any]:
    if part not in Part.values:
        raise Http404
    return serialize(RetentionRule.put(workspace, part, by=request.user, **body.model_dump()))


def _changed(rule: RetentionRule, changed: bool) -> dict[str, Any]:
    rule.refresh_from_db()
    return {"changed": changed, "rule": serialize(rule)}


def _delete(request: ApiRequest, rule: RetentionRule) -> Status:
    rule.switch(is_on=False, by=request.user)
    rule.delete()
    return Status(204, None)


def _rules(workspace: Workspace | None) -> list[dict[str, Any]]:
    return [serialize(rule) for rule in RetentionRule.objects.of(workspace).select_related("by")]


def serialize(rule: RetentionRule) -> dict[str, Any]:
    """Return a rule as `RetentionRuleOut`."""
    preview = rule.preview
    return {
        "part": rule.part,
        "after_days": rule.after_days,
        "states": rule.states,
        "keep_best": rule.keep_best,
        "is_on": rule.is_on,
        "changed_at": time_of(rule.changed_at),
        "by": rule.by.username if rule.by else None,
        "preview": {
            "at": preview.get("at"),
            "trials": preview.get("trials", 0),
            "bytes": preview.get("bytes", 0),
            "oldest": preview.get("oldest"),
        },
    }
