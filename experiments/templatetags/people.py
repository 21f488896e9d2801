"""What the navigation must know of the person who looks."""

from __future__ import annotations

from django import template
from django.template import Context

from experiments.permissions import may

register = template.Library()


@register.simple_tag(takes_context=True)
def may_manage(context: Context) -> bool:
    """May whoever looks manage the page's workspace? The role is read once per request."""
    return may(context["user"], "manage", context["workspace"])
