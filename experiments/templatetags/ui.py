"""Template tags and filters: glyphs, states, numbers, times, form controls, sort links.

Every filter returns `—` for a missing value (None or "").
"""

from __future__ import annotations

from functools import cache
from urllib.parse import quote_plus, urlencode

from django import forms, template
from django.forms import BoundField
from django.http import QueryDict
from django.template import Context
from django.templatetags.static import static
from django.utils.html import conditional_escape, escape, format_html
from django.utils.safestring import SafeString, mark_safe

from experiments.messages import (
    STATES,
    ago,
    amount,
    best_of_each,
    best_value,
    bytes_,
    clock,
    column_texts,
    count,
    duration,
    duration_range,
    duration_short,
    end_range,
    failures_of,
    percent,
    plural,
    precise,
    running,
    running_short,
    second_of_day,
    state_label,
    time_of_day,
    value,
)
from experiments.models import Experiment

register = template.Library()
for text_filter in (
    ago,
    amount,
    best_value,
    best_of_each,
    clock,
    column_texts,
    count,
    duration,
    duration_range,
    end_range,
    duration_short,
    percent,
    plural,
    precise,
    running,
    running_short,
    second_of_day,
    state_label,
    time_of_day,
    value,
):
    register.filter(text_filter)
register.filter("bytes", bytes_)

PLACE_IN_LIST = ("page", "after", "before")  # query parameters that a new order or filter resets


# Marks


@register.simple_block_tag
def prose(content: SafeString) -> SafeString:
    """Join a text of several lines into one line, for a component: `{% prose as explanation %} ... {% endprose %}`."""
    return mark_safe(" ".join(content.split()))  # noqa: S308 - the template has escaped its variables


@register.simple_tag
def icon(name: str) -> SafeString:
    """Return the icon `name` of the sprite, for example {% icon "stop" %}. Hidden from screen readers."""
    return _symbol("icon", f"i-{name}")


@register.simple_tag
def glyph(name: str) -> SafeString:
    """Return the glyph of a state (or "warning") without a label. Use `status` for both."""
    return _symbol("glyph", f"g-{name}")


@register.simple_tag
def status(state: object, label: str = "") -> SafeString:
    """Return a state as glyph and label: {% status trial.state %}. `label` replaces the label, such as by a number."""
    return _status(str(state)) if not label else _status_with(str(state), label)


@cache  # a list shows dozens of states, of only twenty kinds
def _status(name: str) -> SafeString:
    return _status_with(name, STATES[name].label if name in STATES else name)


def _status_with(name: str, label: str) -> SafeString:
    mark = glyph(STATES[name].glyph if name in STATES else "warning")
    return format_html('<span class="status" data-status="{}">{}{}</span>', name, mark, label)


@register.simple_tag
def experiment_status(experiment: Experiment) -> SafeString:
    """Return an experiment's state; for a completed one with failures, a warning with their number."""
    failures = failures_of(experiment)
    if not failures:
        return status(experiment.state)
    return format_html(
        '<span class="status" data-status="warning">{}<span>{}<span class="separator"> · </span>'
        '<span class="nowrap">{}</span></span></span>',
        glyph("warning"),
        STATES[experiment.state].label,
        failures,
    )


@register.simple_tag
def short_status(experiment: Experiment) -> SafeString:
    """Return an experiment's state for small spaces; for a completed one with failures, a warning with their number in
    its title."""
    failures = failures_of(experiment)
    if not failures:
        return status(experiment.state)
    return format_html(
        '<span class="status" data-status="warning" title="{}">{}{}<span class="sr-only">, {}</span></span>',
        failures,
        glyph("warning"),
        STATES[experiment.state].label,
        failures,
    )


@register.simple_tag
def meter(value: float, of: float = 100, label: str = "") -> SafeString:
    """Return a bar filled to value/of: with a label a progress bar, without one a decoration."""
    share = min(max(value / of, 0), 1) if of else 0
    attributes = (
        format_html(
            'role="progressbar" aria-valuenow="{}" aria-valuemax="{}" aria-label="{}"',
            value,
            of,
            label,
        )
        if label
        else SafeString('aria-hidden="true"')
    )
    return format_html(
        '<svg class="meter" {}><rect width="{}%" height="100%"/></svg>', attributes, f"{share * 100:.1f}"
    )


@register.simple_tag
def place(share: float) -> SafeString:
    """Return a mark of a value's position in its range: `share` is 0 to 1."""
    at = f"{min(max(share, 0), 1) * 100:.1f}%"
    return format_html(
        '<svg class="place" aria-hidden="true"><line x1="0" x2="100%" y1="6" y2="6"/>'
        '<circle cx="{}" cy="6" r="5"/></svg>',
        at,
    )


@register.filter
def slot_marks(busy: int, slots: int) -> list[bool]:
    """Return one mark per slot, busy slots first."""
    return [slot < busy for slot in range(slots)]


@cache  # a table has hundreds of icons, and the sprite's URL never changes within a process
def _symbol(css_class: str, symbol: str) -> SafeString:
    address = f"{static('glyphs.svg')}#{symbol}"
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}"/></svg>', css_class, address)


# Forms


@register.filter
def control(field: BoundField) -> SafeString:
    """Return the field's widget with its CSS classes. Django adds aria-invalid and aria-describedby."""
    widget = field.field.widget
    kinds = (
        (forms.RadioSelect | forms.CheckboxSelectMultiple | forms.CheckboxInput, ""),
        (forms.NumberInput, "input is-num"),
        (forms.Textarea, "area"),
        (forms.Select, "select"),
    )
    css_class = next((css for kind, css in kinds if isinstance(widget, kind)), "input")
    classes = " ".join(part for part in (css_class, widget.attrs.get("class", "")) if part)
    return field.as_widget(attrs={"class": classes} if classes else {})


@register.filter
def selected_label(field: BoundField) -> str:
    """Return the label of the option that a select shows: the selected one, else the first."""
    options = [option.data for option in field.subwidgets]
    shown = [option for option in options if option["selected"]] or options[:1]
    return str(shown[0]["label"]) if shown else ""


@register.filter
def is_choice(field: BoundField) -> bool:
    """Return whether the field is a single checkbox, whose label follows it."""
    return isinstance(field.field.widget, forms.CheckboxInput)


@register.filter
def is_group(field: BoundField) -> bool:
    """Return whether the field has several radio buttons or checkboxes, which need a legend."""
    return isinstance(field.field.widget, forms.RadioSelect | forms.CheckboxSelectMultiple)


# Tables


@register.simple_tag(takes_context=True)
def sort_head(
    context: Context,
    label: str,
    key: str,
    *,
    num: bool = False,
    first: str = "",
    css: str = "",
    menu: str = "",
) -> SafeString:
    """Return a table head that sorts by `key`: ?sort=lr ascending, ?sort=-lr descending; `first="-"` starts with
    descending. `menu` is the ID of the column's menu. Filters are preserved, the page number is reset. A view can pass
    its default order as `sort` in the context. Written in Python because a table has dozens of them.
    """
    render_context = context.render_context
    if "around_order" not in render_context:  # computed once for all heads of a template
        render_context["around_order"] = around_order(context["request"].GET)
    before, after = render_context["around_order"]
    current = context["request"].GET.get("sort") or str(context.get("sort") or "")
    falling = "-" + key
    chosen = falling if current == key else key if current == falling else first + key
    order = {key: "ascending", falling: "descending"}.get(current, "")
    name, classes = conditional_escape(label), f"{'num ' if num else ''}{conditional_escape(css)}".strip()
    kind = f' class="{classes}"' if classes else ""
    sorted_by = f' aria-sort="{order}"' if order else ""
    arrow = f'<span aria-hidden="true"> {"↑" if order == "ascending" else "↓"}</span>' if order else ""
    title = f' title="{name}"' if menu else ""
    opener = (
        f'<button class="head-menu" type="button" popovertarget="{conditional_escape(menu)}" '
        f'aria-label="Column {name}">{icon("down")}</button>'
    )
    return SafeString(
        f'<th scope="col"{kind}{sorted_by}><a href="{before}{quote_plus(chosen)}{after}"{title}>{name}{arrow}</a>'
        f"{opener if menu else ''}</th>"
    )


def around_order(query: QueryDict) -> tuple[str, str]:
    """Return the URL of a sorted table, as HTML, before and after the value of `sort`. It opens the first page."""
    parts: list[str] = []
    place = None
    for name, values in query.lists():
        if name == "sort":
            place = len(parts)
        elif name not in PLACE_IN_LIST:
            parts.append(urlencode([(name, value) for value in values]))
    at = len(parts) if place is None else place
    return escape("?" + "&".join([*parts[:at], "sort="])), escape("&".join(["", *parts[at:]]))
