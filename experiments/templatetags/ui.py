"""What templates say things with: glyphs, states, numbers, times, form controls, sort links.

Every filter answers a missing value (None or "") with the dash of the tables, `—`.
"""

from __future__ import annotations

from functools import cache

from django import forms, template
from django.forms import BoundField
from django.http import QueryDict
from django.template import Context
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

from experiments.messages import (
    STATES,
    ago,
    bytes_,
    clock,
    count,
    duration,
    duration_short,
    percent,
    plural,
    state_label,
    value,
)

register = template.Library()
for text_filter in (ago, clock, count, duration, duration_short, percent, plural, state_label, value):
    register.filter(text_filter)
register.filter("bytes", bytes_)

PLACE_IN_LIST = ("page", "after", "before")  # what a new order or filter makes meaningless


# Marks


@register.simple_block_tag
def prose(content: SafeString) -> SafeString:
    """A text over several lines as one line, for a component: `{% prose as explanation %} ... {% endprose %}`."""
    return mark_safe(" ".join(content.split()))  # noqa: S308 - the template has escaped its variables


@register.simple_tag
def icon(name: str) -> SafeString:
    """The interface icon `name` of the sprite, e.g. {% icon "stop" %}. Says nothing to a screen reader."""
    return _symbol("icon", f"i-{name}")


@register.simple_tag
def glyph(name: str) -> SafeString:
    """The glyph of a state (or "warning"), without its word. Use `status` where the word belongs to it."""
    return _symbol("glyph", f"g-{name}")


@register.simple_tag
def status(state: object, label: str = "") -> SafeString:
    """A state as glyph and word: {% status trial.state %}. `label` replaces the word, e.g. by a number."""
    word = str(state)
    known = STATES.get(word)
    return format_html(
        '<span class="status" data-status="{}">{}{}</span>',
        word,
        glyph(known.glyph if known else "warning"),
        label or (known.label if known else word),
    )


@register.simple_tag
def meter(value: float, of: float = 100, label: str = "") -> SafeString:
    """A bar filled to value/of. With a label it is a progress bar for everybody, without it decoration."""
    share = min(max(value / of, 0), 1) if of else 0
    said = (
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
        '<svg class="meter" {}><rect width="{}%" height="100%"/></svg>', said, f"{share * 100:.1f}"
    )


@register.simple_tag
def place(share: float) -> SafeString:
    """Where a value lies between the ends of its range: `share` of 0 to 1."""
    at = f"{min(max(share, 0), 1) * 100:.1f}%"
    return format_html(
        '<svg class="place" aria-hidden="true"><line x1="0" x2="100%" y1="6" y2="6"/>'
        '<circle cx="{}" cy="6" r="5"/></svg>',
        at,
    )


@register.filter
def slot_marks(busy: int, slots: int) -> list[bool]:
    """One mark a slot, the busy ones first."""
    return [place < busy for place in range(slots)]


@cache  # a table has hundreds of them, and the sprite's address does not change while a process lives
def _symbol(css_class: str, symbol: str) -> SafeString:
    address = f"{static('glyphs.svg')}#{symbol}"
    return format_html('<svg class="{}" aria-hidden="true"><use href="{}"/></svg>', css_class, address)


# Forms


@register.filter
def control(field: BoundField) -> SafeString:
    """The field's widget in the look of its kind. Django adds aria-invalid and aria-describedby itself."""
    widget = field.field.widget
    kinds = (
        (forms.RadioSelect | forms.CheckboxSelectMultiple | forms.CheckboxInput, ""),
        (forms.NumberInput, "input is-num"),
        (forms.Textarea, "area"),
        (forms.Select, "select"),
    )
    look = next((css for kind, css in kinds if isinstance(widget, kind)), "input")
    said = " ".join(part for part in (look, widget.attrs.get("class", "")) if part)
    return field.as_widget(attrs={"class": said} if said else {})


@register.filter
def is_choice(field: BoundField) -> bool:
    """Is it one checkbox, whose label stands behind it?"""
    return isinstance(field.field.widget, forms.CheckboxInput)


@register.filter
def is_group(field: BoundField) -> bool:
    """Are these several radios or checkboxes, which need a legend?"""
    return isinstance(field.field.widget, forms.RadioSelect | forms.CheckboxSelectMultiple)


# Tables


@register.inclusion_tag("components/_sort.html", takes_context=True)
def sort_head(
    context: Context, label: str, key: str, *, num: bool = False, first: str = "", css: str = ""
) -> dict[str, object]:
    """A table head that sorts by `key`: ?sort=lr rises, ?sort=-lr falls; `first="-"` begins with falling.

    Filters stay, the place in the list does not. The view may say its default order as `sort` in the context.
    """
    query: QueryDict = context["request"].GET.copy()
    current = query.get("sort") or str(context.get("sort") or "")
    falling = "-" + key
    if current == key:
        query["sort"] = falling
    elif current == falling:
        query["sort"] = key
    else:
        query["sort"] = first + key
    for name in PLACE_IN_LIST:
        query.pop(name, None)
    return {
        "label": label,
        "url": "?" + query.urlencode(),
        "order": {key: "ascending", falling: "descending"}.get(current, ""),
        "num": num,
        "css": css,
    }
