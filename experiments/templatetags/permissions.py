"""Permissions of the signed-in user, for templates."""

from __future__ import annotations

from django import template
from django.template import Context

from experiments.permissions import may

register = template.Library()


@register.simple_tag(takes_context=True)
def may_manage(context: Context) -> bool:
    """Return whether the user may manage the page's workspace. The role is read once per request."""
    return may(context["user"], "manage", context["workspace"])
