"""Check and render the experiment's command, a shell script with placeholders.

`${lr}` and the names in `WORDS` are placeholders; `$HOME`, `$1`, `$(...)`, `${ALL_CAPS...}`, `${files[@]}` and
variables that the script itself sets belong to the shell, and `$${...}` is the shell's `${...}`. Each value is quoted
for the shell, so a placeholder is allowed only where a shell word is: not in quotes, backticks or here-documents.
"""

import difflib
import json
import os
import re
import shlex
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from unicodedata import normalize

WORDS = ("trial_id", "exp_id", "params", "output_dir")

_SHELLS_OWN = re.compile(r"[A-Z_][A-Z0-9_]*(?![A-Za-z0-9_])|[0-9@*#?$!-]")
_HEREDOC = re.compile(r"<<-?[ \t]*(?:'([^'\n]+)'|\"([^\"\n]+)\"|\\?([A-Za-z_][\w.-]*))")
_EXPANSION = re.compile(r"([!#]?)([A-Za-z_]\w*)(.?)", re.ASCII | re.DOTALL)
# Where a command begins; lr=1 elsewhere, as in `python train.py lr=1`, is an argument and sets nothing.
_BEGIN = r"(?:^|[\n;&|({]|\b(?:then|do|else|while|until|if)\s)[ \t]*"
# Each character can match in only one way; otherwise, hostile text would take exponential time.
_VALUE = r"(?:\"[^\"]*\"|'[^']*'|\$?\([^)]*\)|[^\s;&|()\"'$]|\$(?!\())*"
_SETTING = rf"[A-Za-z_]\w*(?:\[[^\]\n]*\])?\+?={_VALUE}"
_ASSIGNMENTS = re.compile(rf"{_BEGIN}({_SETTING}(?:[ \t]+{_SETTING})*)", re.ASCII)
_DECLARED = re.compile(
    rf"{_BEGIN}(?:{_SETTING}[ \t]+)*(?:(?:for|select)\s+([A-Za-z_]\w*)"
    r"|(?:read|mapfile|readarray|local|declare|typeset|export|readonly)\b((?:[ \t]+[-\w]+(?:=\S*)?)+))",
    re.ASCII,
)
_OPEN_ENDS = re.compile(r"(?:[;&|<>]|(?:^|\s)(?:[(){}]|done|fi|esac))$")


PIPEFAIL_IF_KNOWN = "(set -o pipefail) 2>/dev/null && set -o pipefail\n"  # for sh: dash lacks it


@dataclass(frozen=True)
class Fault:
    """An error in the command, with its line (from 1)."""

    line: int
    message: str


@dataclass
class _Script:
    """The parsed command. A place is the (start, end, name) of a placeholder in the text."""

    places: list[tuple[int, int, str]] = field(
        default_factory=list
    )  # "$" is the first character of an escaped $${
    faults: list[tuple[int, str]] = field(default_factory=list)  # (offset, message)
    end: int = 0  # end of the last line's code, without trailing space and comments
    ends_in_heredoc: bool = False


def check(command: str, names: Collection[str], *, as_arguments: bool = False) -> list[Fault]:
    """Return the faults of the command, given the names of the parameters.

    `as_arguments`: the parameters will be appended to the last line, which must allow it.
    """
    script = _read(command, frozenset((*names, *WORDS)))
    faults = [Fault(command.count("\n", 0, at) + 1, message) for at, message in script.faults]
    last = command[: script.end]
    if not last:
        return [Fault(1, "The command is empty. Enter what a trial runs, for example python train.py.")]
    if as_arguments and (script.ends_in_heredoc or _OPEN_ENDS.search(last)):
        line = last.rstrip().count("\n") + 1
        message = "The last line cannot take arguments. Put the program call on the last line."
        faults.append(Fault(line, message))
    return faults


def render(command: str, values: Mapping[str, object], *, append: Sequence[str] = ()) -> str:
    """Return the script with each placeholder replaced, and `append` (see `arguments.arguments`) added to its last
    line.

    `values` are the parameters and the `WORDS`. Raise ValueError with a message when `check` has a fault.
    """
    script = _read(command, frozenset(values))
    if script.faults:
        raise ValueError(script.faults[0][1])
    rendered, at = [], 0
    for start, end, name in script.places:
        rendered += [command[at:start], "" if name == "$" else shlex.quote(text_of(values[name]))]
        at = end
    if append:
        rendered += [command[at : script.end], " ", shlex.join(append)]
        at = script.end
    return "".join(rendered) + command[at:]


def argv(script: str, *, pipefail: bool = True) -> list[str]:
    """Return the argv that runs the rendered script, which stops at the first line that fails.

    `pipefail`: a pipe fails when any of its programs does, not only the last one.
    """
    if bash := _program("bash", os.environ.get("PATH")):
        return [bash, "-e", *(["-o", "pipefail"] if pipefail else []), "-c", script]
    return ["sh", "-e", "-c", PIPEFAIL_IF_KNOWN + script if pipefail else script]


@lru_cache
def _program(name: str, path: str | None) -> str | None:
    """Return the path of a program, which does not move while a worker runs."""
    return shutil.which(name, path=path)


def text_of(value: object) -> str:
    """Return a value as a command gets it: text unchanged, numbers in full, others (true, null, lists) as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


@lru_cache(maxsize=32)
def _read(command: str, names: frozenset[str]) -> _Script:
    """Scan the command as the shell would, as far as needed to determine what is quoted."""
    script = _Script()
    inside: list[tuple[str, int]] = []  # open delimiters (" ( { `), outermost first, with their offsets
    assigned = _assigned(command)
    waiting: list[tuple[str, bool]] = []  # here-documents announced on this line: end word, tabs stripped
    at = 0
    while at < len(command):
        char = command[at]
        is_quoted = next((kind for kind, _ in reversed(inside) if kind != "{"), "") == '"'
        if char == "\\":
            at += 2
            if command[at - 1 : at] in ("\n", ""):
                continue  # a line continuation is not code by itself
        elif char == "'" and not is_quoted:
            at = _skip_single(command, at, names, script)
        elif command.startswith("$'", at) and not is_quoted:
            at = _skip_single(command, at + 1, names, script, escapes=True)
        elif char in '"`':
            if inside and inside[-1][0] == char:
                inside.pop()
            else:
                inside.append((char, at))
            at += 1
        elif command.startswith("$(", at):
            inside.append(("(", at))
            at += 2
        elif char == "(" and inside and inside[-1][0] == "(":
            inside.append(("(", at))
            at += 1
        elif char in ")}" and inside and inside[-1][0] == {")": "(", "}": "{"}[char]:
            inside.pop()
            at += 1
        elif command.startswith("$${", at):
            script.places.append((at, at + 1, "$"))
            inside.append(("{", at))
            at += 3
        elif command.startswith("${", at):
            place = _placeholder(command, at, names, assigned)
            if place is None:
                inside.append(("{", at))
                at += 2
            elif place[1] not in names and (name := _parameter_in(place[1], names)):
                message = (
                    f"{name} is a parameter; shell expressions such as ${{{place[1]}}} are not supported for it. "
                    f"Use ${{{name}}}."
                )
                script.faults.append((at, message))
                at = place[0]
            else:
                is_in_backticks = any(kind == "`" for kind, _ in inside)
                where = "backticks" if is_in_backticks else "quotes" if is_quoted else ""
                _note(script, at, *place, names, where)
                at = place[0]
        elif char == "#" and not is_quoted and (at == 0 or command[at - 1] in " \t\n;&|()"):
            at = _line_end(command, at)
            continue  # a comment is not code
        elif not is_quoted and (heredoc := _HEREDOC.match(command, at)) and command[at - 1 : at] != "<":
            waiting.append((heredoc[1] or heredoc[2] or heredoc[3], heredoc[0].startswith("<<-")))
            at = heredoc.end()
        elif char == "\n" and waiting and not is_quoted:
            at = _skip_heredocs(command, at + 1, waiting, names, script)
            waiting = []
            script.end, script.ends_in_heredoc = at, True
            continue
        else:
            at += 1
        if not char.isspace():
            script.end, script.ends_in_heredoc = min(at, len(command)), False
    for kind, began in inside:
        if kind != "(":
            script.faults.append((began, f"The {'${' if kind == '{' else kind} opened here is never closed."))
    return script


def _placeholder(
    command: str, at: int, names: Collection[str], assigned: Collection[str]
) -> tuple[int, str] | None:
    """Return the end and name of the placeholder at `at`, or None when it is a shell expansion."""
    end = command.find("}", at)
    name = normalize("NFC", command[at + 2 : end]) if end > 0 else ""  # as the names of parameters
    if name in names:
        return end + 1, name
    if end < 0 or _SHELLS_OWN.match(command, at + 2):
        return None
    expansion = _EXPANSION.match(name)
    if expansion and expansion[2] in assigned:
        return None
    if expansion and (expansion[1] or (expansion[3] and expansion[3] in "[:#%^,@")):
        return (end + 1, name) if expansion[2] in names else None
    return end + 1, name


def _parameter_in(content: str, names: Collection[str]) -> str:
    """Return the parameter to which a shell expansion such as `lr:-0.1` refers: its variable is never set."""
    expansion = _EXPANSION.match(content)
    is_operator = expansion and (expansion[1] or (expansion[3] and expansion[3] in "[:#%^,@"))
    return expansion[2] if expansion and is_operator and expansion[2] in names else ""


def _assigned(command: str) -> set[str]:
    """Return the variables that the script sets itself."""
    names = {
        name
        for match in _ASSIGNMENTS.finditer(command)
        for name in re.findall(rf"([A-Za-z_]\w*)(?:\[[^\]\n]*\])?\+?={_VALUE}", match[1], re.ASCII)
    }
    for match in _DECLARED.finditer(command):
        names.update([match[1]] if match[1] else (word.partition("=")[0] for word in match[2].split()))
    return names


def _note(script: _Script, at: int, end: int, name: str, names: Collection[str], where: str) -> None:
    if name not in names:
        script.faults.append((at, _unknown(name, names)))
    elif where == "backticks":
        script.faults.append((at, f"${{{name}}} is in backticks; use $(…) instead."))
    elif where:
        message = f"${{{name}}} is in quotes; remove them, the value is quoted automatically."
        script.faults.append((at, message))
    else:
        script.places.append((at, end, name))


def _unknown(name: str, names: Collection[str]) -> str:
    near = difflib.get_close_matches(name, sorted(names), n=1, cutoff=0.5)
    if near:
        return f"${{{name}}} is not a parameter of the search space. Did you mean ${{{near[0]}}}?"
    available = ", ".join(f"${{{each}}}" for each in sorted(names)[:8])
    variable = (
        f" Write a shell variable as ${name}."
        if re.fullmatch(r"\w+", name)
        else f" Write a shell expression as $${{{name}}}."
    )
    return f"${{{name}}} is not a parameter of the search space. Available: {available}.{variable}"


def _skip_single(
    command: str, at: int, names: Collection[str], script: _Script, *, escapes: bool = False
) -> int:
    """Return the end of the single-quoted text that begins at `at`."""
    closing = re.compile(r"(?:[^'\\]|\\.)*'" if escapes else r"[^']*'", re.DOTALL).match(command, at + 1)
    if not closing:
        script.faults.append((at, "The ' opened here is never closed."))
        return len(command)
    hint = "is in quotes; remove them, the value is quoted automatically."
    _fault_placeholders(command, at, closing.end(), names, script, hint)
    return closing.end()


def _skip_heredocs(
    command: str, at: int, waiting: list[tuple[str, bool]], names: Collection[str], script: _Script
) -> int:
    """Return the end of the here-documents that begin at `at`."""
    begin = at
    for word, strips_tabs in waiting:
        while at < len(command):
            line_end = _line_end(command, at)
            line = command[at:line_end]
            at = min(line_end + 1, len(command))
            if (line.lstrip("\t") if strips_tabs else line) == word:
                break
    hint = "is in a here-document; assign it to a shell variable first, and use that variable here."
    _fault_placeholders(command, begin, at, names, script, hint)
    return at


def _fault_placeholders(
    command: str, begin: int, end: int, names: Collection[str], script: _Script, hint: str
) -> None:
    """Add a fault for each placeholder where no value can be inserted."""
    for match in re.finditer(r"\$\{([^}]*)\}", command[begin:end]):
        if match[1] in names:
            script.faults.append((begin + match.start(), f"{match[0]} {hint}"))


def _line_end(command: str, at: int) -> int:
    end = command.find("\n", at)
    return len(command) if end < 0 else end
