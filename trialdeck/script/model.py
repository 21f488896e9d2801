"""The results of reading a script: arguments, metrics and imports."""

from __future__ import annotations  # for Python 3.8

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Kinds of arguments.
INTEGER, FLOAT, TEXT, BOOLEAN, PATH = "int", "float", "str", "bool", "path"


class ScriptError(ValueError):
    """The script cannot be read. The text is one sentence for the user."""


@dataclass(frozen=True)
class Argument:
    """One argument of a script.

    `name` is the name of its parameter: what follows the `--` of an option, or a key of a configuration. `option` is
    the option on the command line (empty for a key or a positional argument). `low` and `high` are inclusive bounds.
    `default` is None if there is none or if it is computed. `boolean` is how a boolean is written: "value" (`--amp
    true`), "flag" (`--amp` or nothing), "no_flag" (`--amp` / `--no-amp`), or "" if no notation gives both values.
    """

    name: str
    kind: str = TEXT
    option: str = ""
    default: Any = None
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    help: str = ""
    line: int = 0
    is_required: bool = False
    is_list: bool = False
    boolean: str = "value"
    note: str = ""  # why it cannot be searched, as a sentence
    aliases: tuple[str, ...] = ()  # other names of the same option

    @property
    def is_appendable(self) -> bool:
        """Whether `--name value` at the end of a command sets it."""
        return self.option.startswith("--")


@dataclass(frozen=True)
class MetricCall:
    """A call that reports or prints a number. `source` is "sdk", or "stdout" with the `pattern` that reads it."""

    name: str
    source: str
    line: int
    pattern: str = ""
    is_final: bool = False  # reported as the final result; otherwise the last value counts

    @property
    def direction(self) -> str:
        """The likely direction, by the name."""
        return "minimize" if any(word in self.name.lower() for word in _SMALLER_IS_BETTER) else "maximize"


_SMALLER_IS_BETTER = (
    *("loss", "error", "err", "mse", "mae", "mape", "perplexity", "ppl", "latency", "cost", "wer", "cer"),
    *("nll", "bpb", "fid", "distance", "regret", "deviation", "logloss", "brier"),
)


@dataclass(frozen=True)
class ImportedModule:
    """A module that the script imports whenever it runs: the name of the package, and the line."""

    name: str
    line: int


@dataclass(frozen=True)
class Script:
    """The arguments, metrics and imports of a script.

    `framework` is the library that reads its arguments ("argparse", "click", "typer", "hydra", …; empty: none was
    recognized). `passes_arguments`: whether parameters are appended to the command, in `argument_style`,
    `boolean_style` and `list_style` (as the settings of these names). `notes` are sentences about what could not be
    read. `missing` are required positional arguments that the command lacks; without them every trial fails.
    """

    name: str
    framework: str = ""
    arguments: tuple[Argument, ...] = ()
    passes_arguments: bool = True
    argument_style: str = "option"
    boolean_style: str = "value"
    list_style: str = "json"
    metrics: tuple[MetricCall, ...] = ()
    imports: tuple[ImportedModule, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
