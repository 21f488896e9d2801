"""Read the values of a settings document and collect a sentence for each fault."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


class SettingsReader:
    """`errors`: sentences by the name of the setting. An invalid value is read as its default."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.errors: dict[str, list[str]] = {}

    def fault(self, name: str, sentence: str) -> None:
        self.errors.setdefault(name, []).append(sentence)

    def text(self, name: str, *, default: str = "", limit: int, single_line: bool = False) -> str:
        value = self.document.get(name, default)
        if not isinstance(value, str):
            self.fault(name, "This must be text.")
        elif "\0" in value:
            self.fault(name, "This must not contain a NUL character.")
        elif len(value) > limit:
            self.fault(name, f"This is {len(value):,} characters long; the maximum is {limit:,}.")
        elif single_line and ("\n" in value or "\r" in value):
            self.fault(name, "This must be one line.")
        else:
            return value.strip() if single_line else value
        return default

    def one_of(self, name: str, choices: tuple[str, ...], *, default: str = "") -> str:
        value = self.document.get(name, default or choices[0])
        if value not in choices:
            self.fault(name, f"This must be one of: {', '.join(choices)}.")
            return default or choices[0]
        return value

    def truth(self, name: str, *, default: bool = False) -> bool:
        value = self.document.get(name, default)
        if not isinstance(value, bool):
            self.fault(name, "This must be true or false.")
            return default
        return value

    def number(
        self, name: str, *, default: float | None = None, low: float = -math.inf, high: float = math.inf
    ) -> float | None:
        value = self.document.get(name, default)
        unit = " s" if name.endswith("_s") else ""
        if value is None:
            if default is not None:
                self.fault(name, "Enter a number.")
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            self.fault(name, "This must be a number.")
        elif value < low:
            self.fault(name, f"This must be at least {low:,g}{unit}.")
        elif value > high:
            self.fault(name, f"This must be at most {high:,.0f}{unit}.")
        else:
            return value
        return default

    def integer(
        self, name: str, *, default: int | None, low: int, high: int, empty: int | None = 0
    ) -> int | None:
        value = self.document.get(name, default)
        unit = " MiB" if name.endswith("_mib") else ""
        if value is None and empty is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            self.fault(name, "This must be a whole number.")
        elif value < low:
            self.fault(name, f"This must be at least {low:,}{unit}.")
        elif value > high:
            self.fault(name, f"This must be at most {high:,}{unit}.")
        else:
            return value
        return default

    def mapping(self, name: str) -> dict[str, Any]:
        value = self.document.get(name, {})
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            self.fault(name, 'This must be a JSON object, for example {"n_startup_trials": 10}.')
            return {}
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            self.fault(name, "This must be plain JSON.")
            return {}
        if len(text) > 10_000 or "\\u0000" in text:
            self.fault(name, "This is too long, or contains a NUL character.")
            return {}
        return value
