"""A search space as rows of a table: on the Overview before the first trial, and on the Configuration tab."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import space_rows


@dataclass(frozen=True)
class ParameterRow:
    """A parameter of the search space. `name` of one of a nested choice: `optimizer/momentum`."""

    name: str
    type: str
    values: str


def rows_of(document: Mapping[str, Mapping[str, Any]], before: str = "") -> Iterator[ParameterRow]:
    """Yield the parameters of a valid space, the parameters of a nested choice after it."""
    for key, spec in document.items():
        name, values = before + key, spec["_value"]
        branches = [value for value in values if isinstance(value, dict) and "_name" in value]
        yield ParameterRow(
            name,
            f"{spec['_type']}{', whole' if spec.get('_whole') else ''}",
            ", ".join(
                _text(value["_name"] if isinstance(value, dict) and "_name" in value else value)
                for value in values
            ),
        )
        for branch in branches:
            own = {each: inner for each, inner in branch.items() if each != "_name"}
            yield from rows_of(own, f"{name}/")


def _text(value: object) -> str:
    """Return a bound or a choice in short form: 1e-5, 30 for 30.0, "a, b" in quotes."""
    return (
        repr(value).removesuffix(".0").replace("e-0", "e-")
        if isinstance(value, float)
        else space_rows.text_of([value])
    )
