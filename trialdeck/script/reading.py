"""Read a script: its arguments, its metrics, its imports."""

from __future__ import annotations  # for Python 3.8

import ast
import warnings
from collections import Counter
from pathlib import Path

from trialdeck.script import argparse_reader, config_reader, function_reader
from trialdeck.script.argparse_reader import MAX_ARGUMENTS
from trialdeck.script.files import FolderNeighbors, Neighbors, decoded, read_text
from trialdeck.script.imports import imports
from trialdeck.script.metrics import metric_calls
from trialdeck.script.model import BOOLEAN, Argument, Script, ScriptError
from trialdeck.script.values import Scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NO_ARGUMENTS = (
    "No arguments were recognized. Arguments of argparse, click, typer, Fire, absl, Hydra, OmegaConf, dataclass "
    "parsers and get_next_parameter() are read; add other parameters by hand."
)
POSITIONAL = ("argparse", "click", "typer")  # libraries whose arguments may have no option
MAX_CONSTANTS = 3  # named in the note
MAX_MODULES = 20  # of the script's own that are searched for arguments


def read_script_file(
    path: Path, command_arguments: Sequence[str] = (), *, excluded: Path | None = None
) -> Script:
    """Read the script at `path`, with the modules and configurations beside it. Raise ScriptError.

    `command_arguments` follow the script in the command, such as a subcommand. `excluded`: a folder whose files are not
    read.
    """
    if path.suffix == ".ipynb":
        raise ScriptError(
            f"{path} is a notebook. Export it as a script first: jupyter nbconvert --to script."
        )
    return read_script(
        read_text(path),
        path.name,
        command_arguments=command_arguments,
        files=FolderNeighbors(path.absolute().parent, excluded),
    )


def read_script(
    text: str | bytes,
    name: str = "script",
    *,
    command_arguments: Sequence[str] = (),
    files: Neighbors | None = None,
) -> Script:
    """Read a script from its text. Raise ScriptError with one sentence if it is not Python."""
    text = decoded(text, name) if isinstance(text, bytes) else text
    files = files or Neighbors()
    tree = _parsed(text, name)
    try:
        return _script(tree, name, tuple(command_arguments), files)
    except RecursionError:
        raise ScriptError(f"{name} is nested too deeply to be read.") from None


def _script(tree: ast.Module, name: str, command_arguments: tuple[str, ...], files: Neighbors) -> Script:
    scope = Scope(tree)
    framework, arguments, notes = _read(tree, scope, command_arguments, files)
    if not arguments:
        framework, arguments, more = _read_modules(tree, command_arguments, files)
        notes += more
    if len(arguments) > MAX_ARGUMENTS:
        notes.append(
            f"The script has more than {MAX_ARGUMENTS} arguments. The first {MAX_ARGUMENTS} are shown."
        )
    if not arguments:
        notes.append(NO_ARGUMENTS)
        notes += _constants(tree)
    arguments = arguments[:MAX_ARGUMENTS]
    is_key = framework in ("hydra", "omegaconf")
    return Script(
        name=name,
        framework=framework,
        arguments=tuple(arguments),
        passes_arguments=bool(arguments) and framework not in ("trialdeck", "nni", "clearml"),
        argument_style="assignment" if is_key else "equals" if framework == "absl" else "option",
        boolean_style=_boolean_style(arguments),
        list_style="json" if is_key else "spread",
        metrics=metric_calls(scope),
        imports=imports(tree),
        notes=tuple(dict.fromkeys(notes)),
        missing=_missing(arguments, command_arguments) if framework in POSITIONAL and not notes else (),
    )


def _missing(arguments: Sequence[Argument], command_arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the required positional arguments for which the command has too few words. Words that may
    be the value of an option, or a subcommand, count as one."""
    flags = {argument.option for argument in arguments if argument.kind == BOOLEAN}
    words, is_value = 0, False
    for token in command_arguments:
        if token.startswith("-") and len(token) > 1:
            is_value = token.startswith("--") and "=" not in token and token not in flags
        else:
            words += not is_value
            is_value = False
    positionals = [argument.name for argument in arguments if argument.is_required and not argument.option]
    return tuple(positionals[words:])


def _constants(tree: ast.Module) -> list[str]:
    """Return how to search the numbers that the script sets at its top level, if it does so."""
    constants = [
        (node.targets[0].id, node.value.value, node.lineno)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and type(node.value.value) in (int, float)
        and not node.targets[0].id.startswith("_")
    ]
    if not constants:
        return []
    name, value, line = constants[0]
    names = ", ".join(name for name, _, _ in constants[:MAX_CONSTANTS])
    more = len(constants) - MAX_CONSTANTS
    return [
        f"Constants are not changed: {names}{f' and {more} more' if more > 0 else ''}. To search one, take it from the "
        f"trial, for example in line {line}: "
        f"{name} = trialdeck.get_next_parameter().get({name.lower()!r}, {value!r}), with import trialdeck."
    ]


def _parsed(text: str, name: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes in the script
            return ast.parse(text)
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        raise ScriptError(f"{name}{where} is not valid Python: {error.msg}.") from None
    except (ValueError, RecursionError, MemoryError):
        raise ScriptError(f"{name} is not a Python script that can be read.") from None


def _read(
    tree: ast.Module, scope: Scope, command_arguments: tuple[str, ...], files: Neighbors
) -> tuple[str, list[Argument], list[str]]:
    """Return (framework, arguments, notes) of one module: of the first library that has arguments in it."""
    arguments, notes = argparse_reader.arguments(tree, scope, command_arguments)
    if arguments:
        return "argparse", arguments, notes
    for framework, read in (
        ("hydra", config_reader.hydra_arguments),
        ("omegaconf", config_reader.omegaconf_arguments),
    ):
        arguments, more = read(tree, scope, files)
        notes += more
        if arguments:
            return framework, arguments, notes
    if _imports(tree, "typer"):
        arguments, more = function_reader.typer_arguments(tree, scope, command_arguments)
        if arguments:
            return "typer", arguments, notes + more
    arguments, more = function_reader.click_arguments(tree, scope, command_arguments)
    if arguments:
        return "click", arguments, notes + more
    if arguments := function_reader.absl_arguments(tree, scope):
        return "absl", arguments, notes
    framework, arguments = function_reader.class_arguments(tree, scope)
    if arguments:
        return framework, arguments, notes
    if arguments := function_reader.fire_arguments(tree, scope):
        return "fire", arguments, notes
    framework, arguments = config_reader.sdk_arguments(tree, scope)
    return framework, arguments, notes


def _read_modules(
    tree: ast.Module, command_arguments: tuple[str, ...], files: Neighbors
) -> tuple[str, list[Argument], list[str]]:
    """Look for arguments in the modules beside the script that it imports."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            inner = [alias.name for alias in node.names]
            module = node.module if isinstance(node, ast.ImportFrom) else None
            names += [module, *(f"{module}.{name}" for name in inner)] if module else inner
    tried = 0
    for name in dict.fromkeys(names):
        path = name.replace(".", "/")
        text = files.text(f"{path}.py") or files.text(f"{path}/__init__.py")
        if text is None:
            continue
        tried += 1
        if tried > MAX_MODULES:
            break
        try:
            inner_tree = _parsed(text, f"{path}.py")
            framework, arguments, notes = _read(inner_tree, Scope(inner_tree), command_arguments, files)
        except ScriptError:
            continue  # the script itself fails on it, with a better message
        if arguments:
            return framework, arguments, [f"The arguments are those of {path}.py.", *notes]
    return "", [], []


def _imports(tree: ast.Module, module: str) -> bool:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and any(
            alias.name.partition(".")[0] == module for alias in node.names
        ):
            return True
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == module:
            return True
    return False


def _boolean_style(arguments: Sequence[Argument]) -> str:
    """Return the notation that most booleans have."""
    styles = Counter(
        argument.boolean for argument in arguments if argument.kind == BOOLEAN and argument.boolean
    )
    return styles.most_common(1)[0][0] if styles else "value"
