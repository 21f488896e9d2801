"""Retention rules of a workspace and of the installation, each with a preview of what it removes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from experiments.messages import plural
from experiments.models import Invalid, Part, Refused, RetentionRule, Workspace, status
from experiments.models.workspace.retention import MOST_DAYS, MOST_KEPT
from experiments.permissions import require, require_administrator
from experiments.web.ui.fragments import Live
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest

from .index import get_workspace

EVERY_S = 2
EXPLANATIONS = {
    Part.FOLDER: (
        "Everything in a trial's folder on its worker's disk: output files, log file, code. Each worker "
        "removes its own folders. Files in an output destination are kept."
    ),
    Part.LOG: "The stored log shown on the trial's page.",
    Part.POINTS: (
        "Series of intermediate metrics; final and last values are kept. Only for experiments that have "
        "ended."
    ),
    Part.EVENTS: "System events of a trial. Actions by people are kept. Only for experiments that have "
    "ended.",
}
ITEMS = {Part.POINTS: "point", Part.EVENTS: "event"}
STATES = [(state, status.TRIAL_STATES[state].label) for state in status.TRIAL_SETTLED]


class RuleForm(forms.Form):
    """One rule. It is saved switched off."""

    after_days = forms.IntegerField(
        label="Remove after",
        min_value=1,
        max_value=MOST_DAYS,
        help_text="After the end of the trial.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off", "class": "is-num"}),
        error_messages={"required": "Enter a number of days."},
    )
    states = forms.MultipleChoiceField(
        label="States",
        choices=STATES,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Select at least one state."},
    )
    keep_best = forms.IntegerField(
        label="Keep best",
        min_value=0,
        max_value=MOST_KEPT,
        help_text="Per experiment.",
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off", "class": "is-num"}),
        error_messages={"required": "Enter a number; 0 = keep none."},
    )

    def __init__(
        self, data: Mapping[str, Any] | None = None, *, part: str, rule: RetentionRule | None
    ) -> None:
        initial = {
            "after_days": rule.after_days if rule else 30,
            "states": rule.states if rule else list(status.TRIAL_SETTLED),
            "keep_best": rule.keep_best if rule else 10,
        }
        super().__init__(data, initial=initial, prefix=part, label_suffix="")


@dataclass(frozen=True)
class Example:
    """A trial of which a rule would remove data."""

    url: str
    label: str
    ended_at: datetime


@dataclass(frozen=True)
class Section:
    """One part of trials' data: its rule, the installation's rule that applies instead, and a preview."""

    part: Part
    explanation: str
    rule: RetentionRule | None
    default: RetentionRule | None
    form: RuleForm
    examples: Sequence[Example]
    url: str

    @property
    def preview(self) -> dict[str, Any]:
        return self.rule.preview if self.rule else {}

    @property
    def is_complete(self) -> bool:
        return "at" in self.preview

    @property
    def oldest(self) -> datetime | None:
        text = self.preview.get("oldest")
        return datetime.fromisoformat(text) if text else None

    @property
    def previewed_at(self) -> datetime | None:
        return datetime.fromisoformat(self.preview["at"]) if self.is_complete else None

    @property
    def items(self) -> str:
        """The number of rows, for parts with many rows per trial."""
        return plural(self.preview.get("items", 0), ITEMS[self.part]) if self.part in ITEMS else ""


@login_required
@require_safe
@takes()
def show(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """The rules of a workspace, for its owners."""
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "manage", workspace)
    return _draw(request, workspace)


@login_required
@require_safe
@takes()
def show_installation(request: SignedInRequest) -> HttpResponse:
    """The rules of the installation, for administrators. They apply to workspaces without their own rule."""
    require_administrator(request.user)
    return _draw(request, None)


@login_required
@require_POST
@takes()
def change(request: SignedInRequest, workspace_slug: str, part: str, action: str) -> HttpResponse:
    """Save, switch on, switch off or delete a rule of a workspace."""
    workspace = get_workspace(request, workspace_slug)
    require(request.user, "manage", workspace)
    return _change(request, workspace, part, action)


@login_required
@require_POST
@takes()
def change_installation(request: SignedInRequest, part: str, action: str) -> HttpResponse:
    """Save, switch on, switch off or delete a rule of the installation."""
    require_administrator(request.user)
    return _change(request, None, part, action)


def _change(request: SignedInRequest, workspace: Workspace | None, part: str, action: str) -> HttpResponse:
    if part not in Part.values:
        raise Http404
    if action == "save":
        return _save(request, workspace, Part(part))
    rule = get_object_or_404(RetentionRule.objects.of(workspace), part=part)
    label = Part(part).label
    if action == "on":
        try:
            changed = rule.switch_on(seen=request.POST.get("seen", ""), by=request.user)
        except Refused as refused:
            return _draw(request, workspace, problem=str(refused), status=409)
        text = f"{label}: turned on. Removal starts within the hour."
    elif action == "off":
        changed = rule.switch(is_on=False, by=request.user)
        text = f"{label}: turned off. Nothing more is removed."
    elif action == "delete":
        rule.switch(is_on=False, by=request.user)
        changed = bool(rule.delete())
        text = f"{label}: rule deleted."
    else:
        raise Http404
    if changed:
        messages.success(request, text)
    else:
        messages.info(request, f"{label}: already turned {action}. Nothing was changed.")
    return redirect(_url(workspace))


def _save(request: SignedInRequest, workspace: Workspace | None, part: Part) -> HttpResponse:
    rule = RetentionRule.objects.of(workspace).filter(part=part).first()
    form = RuleForm(request.POST, part=part, rule=rule)
    if not form.is_valid():
        return _draw(request, workspace, invalid=(part, form), status=422)
    try:
        RetentionRule.put(workspace, part, by=request.user, **form.cleaned_data)
    except Invalid as fault:
        for name, sentences in fault.errors.items():
            form.add_error(name, " ".join(sentences))
        return _draw(request, workspace, invalid=(part, form), status=422)
    messages.success(request, f"{part.label}: rule saved and turned off. Check the preview, then turn it on.")
    return redirect(f"{_url(workspace)}#{part}")


def _url(workspace: Workspace | None, *more: str) -> str:
    if workspace:
        return reverse(
            "workspace-retention-change" if more else "workspace-retention", args=[workspace.slug, *more]
        )
    return reverse("retention-change" if more else "retention", args=more)


def _draw(
    request: SignedInRequest,
    workspace: Workspace | None,
    *,
    invalid: tuple[str, RuleForm] | None = None,
    problem: str = "",
    status: int = 200,
) -> HttpResponse:
    rules = {rule.part: rule for rule in RetentionRule.objects.of(workspace).select_related("by")}
    live = Live(
        request, fragments={"rules"}, version=[(rule.pk, rule.is_on, rule.preview) for rule in rules.values()]
    )
    if live.is_unchanged:
        return live.not_modified()
    defaults = {rule.part: rule for rule in RetentionRule.objects.of(None)} if workspace else {}
    slugs = _slugs(list(rules.values()))
    sections = [
        Section(
            part,
            EXPLANATIONS[part],
            rule=rules.get(part),
            default=defaults.get(part),
            form=invalid[1] if invalid and invalid[0] == part else RuleForm(part=part, rule=rules.get(part)),
            examples=_examples(rules.get(part), slugs),
            url=_url(workspace, part, "save").removesuffix("save/"),
        )
        for part in Part
    ]
    is_computing = any(section.rule and not section.is_complete for section in sections)
    context = {
        "workspace": workspace,
        "nav": "settings" if workspace else "workspaces",
        "sections": sections,
        "problem": problem,
        "every": EVERY_S if is_computing else None,
    }
    return live.draw("workspaces/retention.html", context, status=status)


def _slugs(rules: Sequence[RetentionRule]) -> dict[int, str]:
    keys = {example["workspace"] for rule in rules for example in rule.preview.get("examples", [])}
    return dict(Workspace.objects.filter(pk__in=keys).values_list("pk", "slug"))


def _examples(rule: RetentionRule | None, slugs: dict[int, str]) -> list[Example]:
    return [
        Example(
            url=reverse(
                "trial", args=[slugs[example["workspace"]], example["experiment"], example["number"]]
            ),
            label=f"{example['name']} #{example['number']}",
            ended_at=datetime.fromisoformat(example["ended_at"]),
        )
        for example in (rule.preview.get("examples", []) if rule else [])
        if example["workspace"] in slugs
    ]
