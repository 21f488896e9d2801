"""Form fields for typed durations, sizes, lines of name-value pairs, and lists.

The fields return other types than `CharField`, so their `to_python` is annotated with `Any`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, TypeVar

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString

from experiments.models import Queue
from experiments.runner.memory_size import parse_mebibytes
from experiments.web.experiment.forms import space_rows
from experiments.web.ui import env_lines

AnyField = TypeVar("AnyField", bound=forms.Field)

if TYPE_CHECKING:
    QueueChoiceField = forms.ModelChoiceField[Queue]
else:  # Django's class is generic in its stubs only
    QueueChoiceField = forms.ModelChoiceField

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

_SPAN = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*([smhd]?)", re.IGNORECASE)


class SpanField(forms.CharField):
    """A duration, such as `90`, `10m`, `2h` or `1d 4h`, in seconds when cleaned; None if blank."""

    def to_python(self, value: object) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        terms = re.sub(r"([smhdSMHD])(?=[0-9])", r"\1 ", text).split()
        parts = [part for part in map(_SPAN.fullmatch, terms) if part]
        if len(parts) < len(terms) or (len(parts) > 1 and not all(part[2] for part in parts)):
            raise forms.ValidationError("Enter a duration, for example 90s, 10m, 2h or 1d 4h.")
        seconds = sum((float(part[1]) * UNITS_S[part[2].lower() or "s"] for part in parts), start=0.0)
        return int(seconds) if seconds.is_integer() else seconds


class MemoryField(forms.CharField):
    """A memory size, such as `4 GiB`, `512 MiB` or `4` (GiB), in MiB when cleaned; None if blank."""

    def to_python(self, value: object) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            return parse_mebibytes(text)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None


SHOWN = "-shown"


class DefaultOn(forms.CheckboxInput):
    """A checkbox that is on unless it was shown and not checked; a request without the field leaves it on."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        shown = format_html('<input type="hidden" name="{}{}" value="1">', name, SHOWN)
        return super().render(name, value, attrs, renderer) + shown

    def value_from_datadict(self, data: Any, files: Any, name: str) -> bool:
        return name in data and super().value_from_datadict(data, files, name) or f"{name}{SHOWN}" not in data


class PairsField(forms.CharField):
    """Lines as in a .env file; a dict of texts when cleaned. Blank lines and comments are skipped."""

    widget = forms.Textarea

    def to_python(self, value: object) -> Any:
        pairs: dict[str, object] = {}
        for number, line in enumerate(re.split(r"\r\n|\r|\n", str(value or "")), start=1):
            try:
                pair = self.pair_of(line)
            except ValueError as error:
                raise forms.ValidationError(f"Line {number}: {error}") from None
            if pair is None:
                continue
            name, pair_value = pair
            if name in pairs:
                raise forms.ValidationError(f"Line {number}: {name[:64]} is already defined above. Keep one.")
            pairs[name] = pair_value
        return pairs

    def pair_of(self, line: str) -> tuple[str, object] | None:
        """Return the name and value of a line, or None without any. Raise ValueError with a sentence."""
        return env_lines.parse(line)

    def validate(self, value: dict[str, object]) -> None:
        if self.required and not value:
            raise forms.ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: dict[str, object]) -> None:
        super().run_validators(json.dumps(value, ensure_ascii=False))


class ArgumentsField(PairsField):
    """Lines of name=value; values that look like numbers, true or false are converted."""

    def pair_of(self, line: str) -> tuple[str, object] | None:
        if not line.strip() or line.lstrip().startswith("#"):
            return None
        name, equals, text = line.partition("=")
        if not equals or not name.strip():
            raise ValueError("enter NAME=VALUE.")
        values = space_rows.items(text)
        return name.strip(), values[0] if len(values) == 1 else text.strip()


class PointsField(forms.CharField):
    """Sets of values, one JSON object on each line; a list of dicts when cleaned."""

    def to_python(self, value: object) -> Any:
        points = []
        for number, line in enumerate(re.split(r"\r\n|\r|\n", super().to_python(value) or ""), start=1):
            if not line.strip():
                continue
            try:
                point = json.loads(line)
            except (ValueError, RecursionError):
                point = None
            if not isinstance(point, dict):
                raise forms.ValidationError(
                    f'Line {number}: enter a JSON object, for example {{"lr": 0.01}}.'
                )
            points.append(point)
        return points

    def run_validators(self, value: list[dict[str, Any]]) -> None:
        super().run_validators(json.dumps(value, ensure_ascii=False))


class LinesField(forms.CharField):
    """One text on each line; a list when cleaned."""

    def to_python(self, value: object) -> Any:
        return [line for line in re.split(r"\r\n|\r|\n", super().to_python(value) or "") if line.strip()]

    def run_validators(self, value: list[str]) -> None:
        super().run_validators("\n".join(value))


class TagsField(forms.CharField):
    """Words separated by commas."""

    def to_python(self, value: object) -> Any:
        return [tag for tag in (super().to_python(value) or "").split(",") if tag.strip()]

    def run_validators(self, value: list[str]) -> None:
        super().run_validators(",".join(value))


class QueueField(QueueChoiceField):
    """The queues granted to the workspace; labels mark those that are paused or have no worker."""

    served: Collection[str] = ()  # names of the queues that have workers
    default_error_messages = {
        "invalid_choice": "This workspace has no access to the queue. Select another queue."
    }

    def label_from_instance(self, queue: Queue) -> str:
        if queue.is_paused:
            return f"{queue.name} (paused)"
        return queue.name if queue.name in self.served else f"{queue.name} (no worker)"


def field_of(form: forms.BaseForm, name: str, kind: type[AnyField]) -> AnyField:
    """Return a field of this form. Raise TypeError if it is not of the expected class."""
    field = form.fields[name]
    if not isinstance(field, kind):
        raise TypeError(f"{name} is a {type(field).__name__}, not a {kind.__name__}")
    return field


def span_of(seconds: float | None) -> str:
    """Return seconds in the format of `SpanField`: `1d 4h`, `90.5s`; empty for None."""
    if seconds is None:
        return ""
    if seconds != int(seconds):
        return f"{seconds}s"
    remaining_s, parts = int(seconds), []
    for unit, length in reversed(UNITS_S.items()):
        count, remaining_s = divmod(remaining_s, length)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
