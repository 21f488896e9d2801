"""The settings of several revisions as rows of a comparison, and their texts line by line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.models import Settings
from experiments.models.settings.shown import shown
from experiments.web.experiment.edit.settings_diff import (
    Change,
    changes,
    flat_hyperparameters,
    hyperparameter_text,
    masked,
    parameter_text,
    text_of,
)
from experiments.web.ui.setting_labels import label_of

from .rows import Row, text_row

FOLDED = 4  # lines of a text that a cell shows


@dataclass(frozen=True, slots=True)
class TextChanges:
    """The multi-line texts (command, files) in which a column differs from the baseline."""

    name: str
    changes: list[Change]


def rows_of(columns: Sequence[Settings]) -> list[Row]:
    """Return a row per setting, per parameter of the search space, per variable and per hyperparameter."""
    documents = [settings.document() for settings in columns]
    masked_documents = [shown(settings).document() for settings in columns]
    rows: list[Row] = []
    for name in documents[0]:
        values = [document[name] for document in documents]
        masked_values = [document[name] for document in masked_documents]
        if name == "space_document":
            rows += [
                text_row(key, [parameter_text(space.get(key)) for space in values], is_code=True)
                for key in _names(values)
            ]
        elif name == "environment":
            rows += [
                text_row(
                    key,
                    [masked(key, variables[key]) if key in variables else "" for variables in masked_values],
                    keys=[variables.get(key) for variables in values],
                    is_code=True,
                )
                for key in _names(values)
            ]
        elif name == "hyperparameters":
            flat = [flat_hyperparameters(groups) for groups in values]
            rows += [
                text_row(
                    key,
                    [hyperparameter_text(key, group) for group in flat],
                    keys=[group.get(key) for group in flat],
                    is_code=True,
                )
                for key in _names(flat)
            ]
        elif name == "objects":
            rows += [
                text_row(
                    key,
                    [_folded(objects.get(key, "")) for objects in masked_values],
                    keys=[objects.get(key) for objects in values],
                    is_code=True,
                    is_long=True,
                )
                for key in _names(values)
            ]
        else:
            rows.append(_row(name, masked_values, keys=[repr(value) for value in values]))
    return rows


def text_changes(names: Sequence[str], columns: Sequence[Settings]) -> list[TextChanges]:
    """Return, for each column after the baseline, the lines in which its command and files differ."""
    base = columns[0]
    differences = [
        TextChanges(name, [change for change in changes(base, settings) if change.lines])
        for name, settings in zip(names[1:], columns[1:], strict=True)
    ]
    return [difference for difference in differences if difference.changes]


def _row(name: str, values: Sequence[Any], *, keys: Sequence[str]) -> Row:
    texts = [text_of(name, value) for value in values]
    if len({repr(value) for value in values}) > 1 == len(set(texts)):  # rounding can make them equal
        texts = [repr(value) for value in values]
    is_long = any("\n" in text for text in texts)
    return text_row(
        label_of(name),
        [_folded(text) if is_long else text for text in texts],
        keys=keys,
        is_long=is_long,
    )


def _folded(text: str) -> str:
    lines = text.strip().splitlines()
    more = f"\n… {len(lines) - FOLDED:,} more lines" if len(lines) > FOLDED + 1 else ""
    return "\n".join(lines[:FOLDED]) + more if more else text.strip()


def _names(documents: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for document in documents for name in document))
