"""Template tags for actions: buttons, the menu behind "...", and the actions of a table row.

Written in Python because a list has hundreds of them, and rendering a template for each took most of the page's time.
Built into all templates (settings.py), so no `load` is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from django import template
from django.middleware.csrf import get_token
from django.template import Context
from django.utils.html import conditional_escape as escape
from django.utils.safestring import SafeString

from .live import posts_in_place
from .ui import icon

register = template.Library()

IN_ROW = "btn is-quiet is-small on-hover"
OPENS_MENU = "is-quiet is-small"


class Action(Protocol):
    """An action of a page: a link (get), a link to a confirmation dialog, or a form (post)."""

    @property
    def label(self) -> str: ...

    @property
    def url(self) -> str: ...

    @property
    def icon(self) -> str: ...

    @property
    def is_post(self) -> bool: ...

    @property
    def is_question(self) -> bool: ...

    @property
    def is_danger(self) -> bool: ...

    @property
    def is_primary(self) -> bool: ...

    @property
    def why_not(self) -> str: ...  # if not empty, the action is shown disabled with this reason

    @property
    def title(self) -> str: ...

    @property
    def shortcut(self) -> str: ...


@register.simple_tag(takes_context=True)
def action_control(context: Context, action: Action, css: str = "", named: str = "") -> SafeString:
    """Return the HTML of an action. `css`: the button's classes, "" in a menu; `named`: the object it applies to, for
    screen readers."""
    return SafeString(_control(context, action, css=css, named=named))


@register.simple_tag(takes_context=True)
def action_menu(
    context: Context, actions: Sequence[Action], id: str, label: str, css: str = "", named: str = ""
) -> SafeString:
    """Return the "..." button with its menu of actions. `id` is the menu's ID, `label` the object that they apply to,
    `css` the button's classes."""
    return SafeString(_menu(context, actions, id=id, label=label, css=css or OPENS_MENU, named=named))


@register.simple_tag(takes_context=True)
def row_actions(
    context: Context, likely: Sequence[Action] | None, more: Sequence[Action] | None, id: str, named: str
) -> SafeString:
    """Return the `likely` actions of a row as buttons, and the others behind "...". `id` must be unique in the page."""
    buttons = "".join(_control(context, action, css=IN_ROW, named=named) for action in likely or ())
    label = f"Actions for {named}"
    menu = _menu(context, more, id=id, label=label, css=OPENS_MENU, named="") if more else ""
    return SafeString(f'<div class="row-actions">{buttons}{menu}</div>')


def _menu(context: Context, actions: Sequence[Action], *, id: str, label: str, css: str, named: str) -> str:
    items = []
    for place, action in enumerate(actions):
        if action.is_danger and place:
            items.append("<hr>")
        items.append(_control(context, action, css="", named=named))
    id = escape(id)
    return (
        f'<button class="btn is-square {escape(css)}" type="button" popovertarget="{id}" data-key="opens-{id}" '
        f'aria-label="{escape(label)}">{icon("more")}</button>'
        f'<div class="menu" id="{id}" popover>{"".join(items)}</div>'
    )


def _control(context: Context, action: Action, *, css: str, named: str) -> str:
    label = f"{icon(action.icon) if action.icon else ''}{escape(action.label)}"
    if action.why_not:
        why_not = escape(action.why_not)
        hint = "" if css else f"<small>{why_not}</small>"
        return f'<a{_class(css)} role="link" aria-disabled="true" title="{why_not}">{label}</a>{hint}'
    if named:
        label += f'<span class="sr-only"> {escape(named)}</span>'
    url = escape(action.url)
    title = f' title="{escape(action.title)}"' if action.title else ""
    shortcut = f' aria-keyshortcuts="{action.shortcut}"' if action.shortcut else ""
    if action.is_post:
        kind = "is-danger" if action.is_danger else "is-primary" if action.is_primary else ""
        in_place = posts_in_place(context, action.url)
        return (
            f'<form method="post" action="{url}" {in_place}>{_csrf_field(context)}'
            f'<button{_class(css, kind)} type="submit"{title}{shortcut}>{label}</button></form>'
        )
    kind = "is-primary" if action.is_primary else "is-danger" if action.is_danger and not css else ""
    question = f' hx-get="{url}" hx-target="#dialog" hx-swap="morph"' if action.is_question else ""
    return f'<a{_class(css, kind)} href="{url}"{question}{title}{shortcut}>{label}</a>'


def _class(*names: str) -> str:
    css = " ".join(filter(None, names))
    return f' class="{css}"' if css else ""


def _csrf_field(context: Context) -> str:
    """Return the hidden CSRF field of a form. The token is masked once for all forms of a page, like that of the tag
    `csrf_token`."""
    render_context = context.render_context
    if "csrf_field" not in render_context:
        token = context.get("csrf_token") or get_token(context["request"])
        render_context["csrf_field"] = f'<input type="hidden" name="csrfmiddlewaretoken" value="{token}">'
    field: str = render_context["csrf_field"]
    return field
