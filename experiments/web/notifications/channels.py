"""Channels: create, change, renew the secret, test, delete."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from experiments.models import Channel, Delivery, Invalid, Refused, Workspace
from experiments.permissions import may, require
from experiments.query_parameters import choice
from experiments.web.ui.query_checks import takes
from experiments.web.ui.requests import SignedInRequest
from experiments.web.workspace.index import get_workspace

from . import page
from .forms import ChannelForm


@sensitive_post_parameters("address")
@login_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@takes({"for": choice("workspace")})
def new(request: SignedInRequest, workspace_slug: str) -> HttpResponse:
    """Create a personal channel, or one for the workspace (`?for=workspace`). The secret of a signed webhook is shown
    once."""
    workspace = get_workspace(request, workspace_slug)
    is_for_workspace = request.GET.get("for") == "workspace"
    if is_for_workspace:
        require(request.user, "manage", workspace)
    owner = None if is_for_workspace else request.user
    form = ChannelForm(request.POST if request.method == "POST" else None, owner=owner)
    editor = page.Editor(channel_form=form, is_for_workspace=is_for_workspace)
    if request.method == "POST" and form.is_valid():
        try:
            channel, secret_text = Channel.create(workspace, owner=owner, **form.cleaned_data)
        except Invalid as fault:
            form.add_errors(fault.errors)
        except Refused as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, f"Channel {channel} created.")
            if not secret_text:
                return redirect("notifications", workspace.slug)
            shown = page.Editor(channel=channel, secret=secret_text, status=201)
            return page.draw(request, workspace, shown)
    editor.status = 422 if form.is_bound else 200
    return page.draw(request, workspace, editor)


@sensitive_post_parameters("address")
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def edit(request: SignedInRequest, workspace_slug: str, channel_pk: int) -> HttpResponse:
    """Rename a channel, or replace its address."""
    workspace, channel = _changeable(request, workspace_slug, channel_pk)
    form = ChannelForm(
        request.POST if request.method == "POST" else None, owner=channel.owner, channel=channel
    )
    if request.method == "POST" and form.is_valid():
        try:
            channel.change(name=form.cleaned_data["name"], address=form.cleaned_data.get("address") or None)
        except Invalid as fault:
            form.add_errors(fault.errors)
        else:
            messages.success(request, f"Channel {channel} saved.")
            return redirect("notifications", workspace.slug)
    editor = page.Editor(channel_form=form, channel=channel, status=422 if form.is_bound else 200)
    return page.draw(request, workspace, editor)


@login_required
@never_cache
@require_POST
@takes()
def secret(request: SignedInRequest, workspace_slug: str, channel_pk: int) -> HttpResponse:
    """Replace the secret that signs messages, and show the new one once."""
    workspace, channel = _changeable(request, workspace_slug, channel_pk)
    text = channel.renew_secret()
    return page.draw(request, workspace, page.Editor(channel=channel, secret=text, status=201))


@login_required
@require_POST
@takes()
def test(request: SignedInRequest, workspace_slug: str, channel_pk: int) -> HttpResponse:
    """Queue a test message."""
    workspace, channel = _changeable(request, workspace_slug, channel_pk)
    Delivery.test(channel, by=request.user)
    messages.success(request, "Test message queued. See the result under Deliveries.")
    return redirect(f"{reverse('notifications', args=[workspace.slug])}#deliveries")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@takes()
def delete(request: SignedInRequest, workspace_slug: str, channel_pk: int) -> HttpResponse:
    """Delete a channel with its deliveries, after a confirmation. Rules without any other channel send nothing."""
    workspace, channel = _changeable(request, workspace_slug, channel_pk)
    back = reverse("notifications", args=[workspace.slug])
    if request.method == "POST":
        channel.delete()
        messages.success(request, f"Channel {channel} deleted.")
        return redirect(back)
    context = {
        "workspace": workspace,
        "channel": channel,
        "rule_count": channel.rules.count(),
        "back": back,
        "is_danger": True,
    }
    return render(request, "notifications/delete_channel.html", context)


def _changeable(request: SignedInRequest, workspace_slug: str, channel_pk: int) -> tuple[Workspace, Channel]:
    """Return a channel that this user may change: their own, or as an owner the workspace's. Raise 404."""
    workspace = get_workspace(request, workspace_slug)
    is_owner = may(request.user, "manage", workspace)
    channels = page.channels_of(workspace, request.user, is_owner=is_owner)
    channel = channels.select_related("workspace").filter(pk=channel_pk).first()
    if channel is None:
        raise Http404
    require(request.user, "view" if channel.owner_id else "manage", workspace)
    return workspace, channel
