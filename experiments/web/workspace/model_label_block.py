"""All labels of a model as text: one line `label=number` for each."""

from __future__ import annotations

from collections.abc import Mapping

from experiments.models import Invalid
from experiments.models.workspace.registered_model import MOST_LABELS

MAX_CHARACTERS = 2_000_000
MAX_FAULTS = 5


def text_of(labels: Mapping[str, int]) -> str | None:
    """Return the labels by number, one per line; None if a label contains a newline."""
    if any(not label.isprintable() or label != label.strip() for label in labels):
        return None
    return "\n".join(
        f"{label}={number}" for label, number in sorted(labels.items(), key=lambda row: (row[1], row[0]))
    )


def labels_of(text: str) -> dict[str, int]:
    """Return the labels in a text. Raise `Invalid` with the invalid lines."""
    if len(text) > MAX_CHARACTERS:
        raise Invalid({"block": [f"This is longer than {MAX_CHARACTERS:,} characters."]})
    labels: dict[str, int] = {}
    lines: dict[str, int] = {}
    faults = []
    for place, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        label, sign, number = (part.strip() for part in line.rpartition("="))
        if not sign or not label:
            faults.append(f"Line {place}: write label=number, such as cat=1.")
        elif not (number.isascii() and number.isdigit() and len(number) < 16):
            faults.append(f"Line {place}: “{number[:64]}” is not a whole number of 0 or more.")
        elif label in labels:
            faults.append(f"Line {place}: the label “{label[:64]}” is already in line {lines[label]}.")
        else:
            labels[label], lines[label] = int(number), place
    if len(labels) > MOST_LABELS:
        faults.append(f"These are {len(labels):,} labels; the maximum is {MOST_LABELS:,}.")
    if faults:
        more = len(faults) - MAX_FAULTS
        raise Invalid(
            {"block": faults[:MAX_FAULTS] + ([f"{more:,} more lines have errors."] if more > 0 else [])}
        )
    return labels
