"""Template tags for live fragments, which poll, and for forms that htmx posts without leaving the page.

Built into all templates (settings.py), so no `load` is needed.
"""

from __future__ import annotations

from django import template
from django.template import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag(takes_context=True)
def live(
    context: Context, every: float | None, *, seconds: float | None = None, url: str = "", beside: str = ""
) -> SafeString:
    """Return the attributes of a fragment that polls `every` so many seconds; no attributes for None.

    `seconds` overrides that interval while the page is live; `url` is the fragment's URL, by default the page's;
    `beside` is the ID of the fragment whose request also fetches this one. Without `beside`, htmx polls this fragment,
    also after an action of the page (`changed`); with `?live=off`, only then.
    """
    swap = SafeString(' hx-swap-oob="morph"') if context.get("is_beside") else SafeString("")
    if not every:
        return swap
    pause, tag = seconds or every, context.get("live_tag", "")
    if beside:
        return format_html('data-beside="{}" data-every="{}" data-tag="{}"{}', beside, pause, tag, swap)
    triggers = ["changed from:body"]
    if context["request"].GET.get("live") != "off":
        triggers += [
            f"every {pause}s",
            "online from:window",
            "visibilitychange from:document",
            "click from:#live-retry",
        ]
    return format_html(
        'hx-get="{}" hx-trigger="{}" hx-swap="morph" hx-sync="this:drop" '
        'hx-request=\'"timeout": 10000\' data-live="{}" data-tag="{}"{}',
        url,
        ", ".join(triggers),
        pause,
        tag,
        swap,
    )


@register.simple_tag(takes_context=True)
def act_in_place(context: Context, url: str) -> SafeString:
    """Return the attributes of a form that htmx posts without leaving the page, on pages whose fragments then
    refresh."""
    return posts_in_place(context, url)


def posts_in_place(context: Context, url: str) -> SafeString:
    if not context.get("every"):
        return SafeString("")
    return format_html('hx-post="{}" hx-swap="none" hx-disabled-elt="find button"', url)


@register.simple_tag(takes_context=True)
def post_in_dialog(context: Context, url: str) -> SafeString:
    """Return the attributes of a button that posts its form from a dialog; a form with errors is shown in the dialog
    again."""
    if not context["request"].htmx:
        return SafeString("")
    is_checked_here = not getattr(context.get("form"), "is_checked_by_server", False)
    return format_html(
        'hx-post="{}" hx-target="#dialog" hx-swap="morph" hx-disabled-elt="this" hx-validate="{}"',
        url,
        str(is_checked_here).lower(),
    )
