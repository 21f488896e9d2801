"""Parameters as command-line arguments, in the styles that programs read."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from experiments.runner.command import text_of

STYLES = {"option": "--name value", "equals": "--name=value", "assignment": "name=value (Hydra)"}
BOOLEANS = {"value": "--name true", "flag": "--name or nothing", "no_flag": "--name / --no-name"}
LISTS = {"json": "--name [1, 2]", "spread": "--name 1 2", "repeat": "--name 1 --name 2"}
# A string that Hydra's and OmegaConf's grammar reads without quotes.
_PLAIN = re.compile(
    r"(?!(?:true|false|null|none|nan|[-+]?inf|yes|no|on|off)$)[A-Za-z_/.][\w/.~+@%-]*", re.IGNORECASE
)


@dataclass(frozen=True)
class ArgumentStyle:
    """How parameters are written: `style` of `STYLES`, `booleans` of `BOOLEANS`, `lists` of `LISTS`.

    `booleans` and `lists` do not apply to `name=value`, which has its own notation for both.
    """

    style: str = "option"
    booleans: str = "value"
    lists: str = "json"

    def arguments(self, name: str, value: object) -> list[str]:
        """Return one parameter as arguments."""
        if self.style == "assignment":
            return [f"{name}={_assigned(value)}"]
        if isinstance(value, bool) and self.booleans != "value":
            if value:
                return [f"--{name}"]
            return [f"--no-{name}"] if self.booleans == "no_flag" else []
        if isinstance(value, list) and self.lists != "json":
            texts = [text_of(item) for item in value]
            if self.lists == "repeat" or not texts:
                return [argument for text in texts for argument in self._option(name, text)]
            return [f"--{name}", *texts]
        return self._option(name, text_of(value))

    def flag(self, name: str) -> list[str]:
        """Return a name without a value as arguments."""
        return [f"{name}=true"] if self.style == "assignment" else [f"--{name}"]

    def _option(self, name: str, text: str) -> list[str]:
        # A value that begins with a hyphen would be read as another option, except for a negative number.
        is_ambiguous = text.startswith("-") and not re.fullmatch(r"-\d+|-\d*\.\d+", text)
        return [f"--{name}={text}"] if self.style == "equals" or is_ambiguous else [f"--{name}", text]


def arguments(params: Mapping[str, object], style: ArgumentStyle = ArgumentStyle()) -> list[str]:  # noqa: B008 (frozen)
    """Return the parameters as arguments: `--lr 0.1 --flag true --layers [1, 2]`."""
    return [argument for name, value in params.items() for argument in style.arguments(name, value)]


def _assigned(value: object) -> str:
    """Return a value in Hydra's override syntax: strings are quoted where they would be read as another type."""
    if isinstance(value, str):
        if _PLAIN.fullmatch(value):
            return value
        # A backslash escapes only a quote, or another backslash before a quote.
        escaped = re.sub(r"(\\*)('|$)", lambda run: run[1] * 2 + ("\\'" if run[2] else ""), value)
        return f"'{escaped}'"
    if isinstance(value, list):
        return "[" + ",".join(map(_assigned, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_assigned(str(key))}:{_assigned(item)}" for key, item in value.items()) + "}"
    return repr(value) if isinstance(value, float) else json.dumps(value)
