"""What templates say things with: glyphs, states, numbers, times, form controls, sort links.

Every filter answers a missing value (None or "") with the dash of the tables, `—`.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from django import forms, template
from django.forms import BoundField
from django.http import QueryDict
from django.template import Context
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from experiments.models.status import EXPERIMENT_STATES, TRIAL_STATES

register = template.Library()

DASH = "—"
STATES = EXPERIMENT_STATES | TRIAL_STATES  # the words that both lists have look the same
PLACE_IN_LIST = ("page", "after", "before")  # what a new order or filter makes meaningless


# Marks


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


@register.filter
def state_label(state: object) -> str:
    """The word people read for a state: `early_stopped` is "Stopped early"."""
    known = STATES.get(str(state))
    return known.label if known else str(state)


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


# Numbers


@register.filter
def value(number: Any, decimals: int | None = None) -> str:
    """A metric or parameter: `0.8147`, `347`, `2.10e-4` for the very small and large.

    Alone it has four places, or none when it is whole; a column gives all of its numbers the same `decimals`.
    Text, booleans and what came as a whole number are said as they are.
    """
    if number is None or number == "":
        return DASH
    if isinstance(number, bool) or not isinstance(number, int | float):
        return str(number)
    if isinstance(number, int):
        return str(number) if abs(number) < 10**15 else f"{number:.2e}"
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    if number == 0 or 0.01 <= abs(number) < 10**6:
        return (
            str(int(number)) if decimals is None and number == int(number) else f"{number:.{decimals or 4}f}"
        )
    mantissa, exponent = f"{number:.{max((decimals or 4) - 2, 1)}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


@register.filter
def count(number: int | None) -> str:
    """A whole number with its thousands apart: `2,914`."""
    return DASH if number is None else f"{number:,}"


@register.filter
def plural(number: int | None, words: str) -> str:
    """The number with its word: {{ 3|plural:"trial" }} is "3 trials"; irregular: "entry,entries"."""
    one, _, many = words.partition(",")
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


@register.filter
def percent(share: float | None) -> str:
    """A share of 0 to 1: `92 %`."""
    return DASH if share is None else f"{share * 100:.0f} %"


@register.filter(name="bytes")
def bytes_(number: int | None) -> str:
    """A size in bytes: `512 B`, `2.1 GB` (powers of 1000)."""
    if number is None:
        return DASH
    size = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


# Times


@register.filter
def duration(span: timedelta | float | None) -> str:
    """A span (seconds or timedelta) in its two largest units: `1.8 s`, `7 m 58 s`, `4 h 36 m`, `2 d 4 h`."""
    seconds = _seconds(span)
    if seconds is None:
        return DASH
    if seconds < 9.95:
        return f"{seconds:.1f} s" if round(seconds, 1) % 1 else f"{seconds:.0f} s"
    whole = round(seconds)
    minutes, s = divmod(whole, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    if not minutes:
        return f"{s} s"
    if not hours:
        return f"{m} m {s:02} s" if s else f"{m} m"
    if hours < 48:
        return f"{hours} h {m:02} m" if m else f"{hours} h"
    return f"{days} d {h} h" if h else f"{days} d"


@register.filter
def duration_short(span: timedelta | float | None) -> str:
    """A span in one unit, for narrow columns: `36 s`, `12 m`, `5 h`, `3 d`. Say the whole in `title`."""
    seconds = _seconds(span)
    if seconds is None:
        return DASH
    for unit, length, until in (("s", 1, 59.5), ("m", 60, 59.5 * 60), ("h", 3600, 47.5 * 3600)):
        if seconds < until:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


@register.filter
def ago(moment: datetime | None) -> str:
    """How long ago, as <time> with the full moment in its title: `41 m ago`."""
    if moment is None:
        return DASH
    seconds = (timezone.now() - moment).total_seconds()
    return _time(moment, "now" if seconds < 1 else f"{duration_short(seconds)} ago")


@register.filter
def clock(moment: datetime | None) -> str:
    """When, as short as is still clear: `13:40` today, `Fri 17:20` this week, `21 Nov` or `21 Nov 2025`."""
    if moment is None:
        return DASH
    at, today = timezone.localtime(moment), timezone.localtime()
    days = abs((today.date() - at.date()).days)
    if days == 0:
        return _time(moment, f"{at:%H:%M}")
    if days < 7:
        return _time(moment, f"{at:%a %H:%M}")
    return _time(moment, f"{at.day} {at:%b}" if at.year == today.year else f"{at.day} {at:%b %Y}")


def _time(moment: datetime, said: str) -> SafeString:
    at = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S %Z}", said
    )


def _seconds(span: timedelta | float | None) -> float | None:
    """Seconds, never negative (clocks of two machines may disagree by a little)."""
    if span is None or span == "":
        return None
    return max(span.total_seconds() if isinstance(span, timedelta) else float(span), 0)


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
