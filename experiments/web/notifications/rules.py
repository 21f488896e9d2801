"""Rules: create, change with a preview, turn on and off, test, delete."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from experiments.models import Delivery, Invalid, Refused, Rule, Workspace
from experiments.permissions import require
from experiments.query_parameters import choice
from experiments.scheduler.notifications.fan_out import Week
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from . import page
from .forms import RuleForm


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes({"for": choice("workspace")})
def new(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Create a personal rule, or one for the workspace (`?for=workspace`)."""
    workspace = get_workspace(request, workspace_slug)
    is_for_workspace = request.GET.get("for") == "workspace"
    if is_for_workspace:
        require(request.user, "manage", workspace)
    owner = None if is_for_workspace else request.user
    rule = Rule(workspace=workspace, owner=owner)
    return _edit(request, workspace, rule)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def edit(request: SignedInRequest, workspace_slug: str, rule_pk: int) -> HttpResponse:
    """Change a rule; `act=preview` only shows what it would have sent."""
    workspace, rule = _changeable(request, workspace_slug, rule_pk)
    return _edit(request, workspace, rule)


@login_required
@require_POST
@takes()
def switch(request: SignedInRequest, workspace_slug: str, rule_pk: int) -> HttpResponse:
    """Turn a rule on (`on=1`) or off."""
    workspace, rule = _changeable(request, workspace_slug, rule_pk)
    rule.switch(is_on=request.POST.get("on") == "1")
    messages.success(request, f"{rule.title}: {'on' if rule.is_on else 'off'}.")
    return redirect("notifications", workspace.slug)


@login_required
@require_POST
@takes()
def test(request: SignedInRequest, workspace_slug: str, rule_pk: int) -> HttpResponse:
    """Queue a test message to each channel of a rule."""
    workspace, rule = _changeable(request, workspace_slug, rule_pk)
    for channel in rule.channels.select_related("workspace"):
        Delivery.test(channel, by=request.user, rule=rule)
    messages.success(request, "Test messages queued. See the results under Deliveries.")
    return redirect(f"{reverse('notifications', args=[workspace.slug])}#deliveries")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def delete(request: SignedInRequest, workspace_slug: str, rule_pk: int) -> HttpResponse:
    """Delete a rule, after a confirmation."""
    workspace, rule = _changeable(request, workspace_slug, rule_pk)
    back = reverse("notifications", args=[workspace.slug])
    if request.method == "POST":
        title = rule.title
        rule.delete()
        messages.success(request, f"Rule {title} deleted.")
        return redirect(back)
    context = {"workspace": workspace, "rule": rule, "back": back, "is_danger": True}
    return render(request, "notifications/delete_rule.html", context)


def _edit(request: SignedInRequest, workspace: Workspace, rule: Rule) -> HttpResponse:
    """Render the form with a preview of its rule; POST saves it."""
    is_new = rule.pk is None
    data = request.POST if request.method == "POST" else None
    form = RuleForm(
        data, workspace=workspace, user=request.user, owner=rule.owner, rule=None if is_new else rule
    )
    editor = page.Editor(rule_form=form, rule=rule, is_for_workspace=rule.owner is None)
    is_save = request.method == "POST" and request.POST.get("act") != "preview"
    if request.method == "POST":
        if not is_save and set(form.errors) == {"channels"}:  # a preview needs no channel
            del form.errors["channels"]
        if not form.errors:
            try:
                if is_save:
                    return _save(request, workspace, rule, form)
                rule.fill(**form.rule_fields())
            except Invalid as fault:
                form.add_errors(fault.errors)
            except Refused as refusal:
                form.add_error(None, str(refusal))
        editor.status = 422 if form.errors else 200
    if not form.errors and (rule.pk or request.method == "POST"):
        week = Week(workspace, request.user)
        editor.context["week"] = week
        editor.preview = page.Preview.of(week.of(rule))
    return page.draw(request, workspace, editor)


def _save(request: SignedInRequest, workspace: Workspace, rule: Rule, form: RuleForm) -> HttpResponse:
    fields = {**form.rule_fields(), "channels": list(form.cleaned_data["channels"])}
    if rule.pk is None:
        rule = Rule.create(workspace, owner=rule.owner, **fields)
    else:
        rule.change(**fields)
    messages.success(request, f"Rule {rule.title} saved.")
    return redirect("notifications", workspace.slug)


def _changeable(request: SignedInRequest, workspace_slug: str, rule_pk: int) -> tuple[Workspace, Rule]:
    """Return a rule that this user may change. Raise 404 if they cannot see it, `Forbidden` if they may not change
    it."""
    workspace = get_workspace(request, workspace_slug)
    rule = page.rules_of(workspace, request.user).filter(pk=rule_pk).first()
    if rule is None:
        raise Http404
    require(request.user, "view" if rule.owner_id else "manage", workspace)
    return workspace, rule
