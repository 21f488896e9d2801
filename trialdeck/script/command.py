"""Which script a command runs, with which Python, and which arguments the command sets itself."""

from __future__ import annotations  # for Python 3.8

import re
import shlex
from dataclasses import dataclass

_PYTHON = re.compile(r"(.*/)?(python|pypy)[0-9.]*(\.exe)?")
_WITH_VALUE = ("-W", "-X")
_ENDS = ("&&", "||", ";", "|", "&", ">", ">>", "<", "2>", "2>&1")


@dataclass(frozen=True)
class ScriptCall:
    """The call of a script in a command.

    `python` is the interpreter as written ("" for a launcher or an executable script), `script` the path of the file,
    `arguments` what follows it.
    """

    script: str
    python: str = ""
    arguments: tuple[str, ...] = ()

    def sets(self, name: str) -> bool:
        """Whether the command sets this argument itself."""
        return any(
            token.lstrip("-").partition("=")[0] == name
            for token in self.arguments
            if token.startswith("-") or "=" in token
        )


def script_call(command: str) -> ScriptCall | None:
    """Return the call of a Python script in a command: of its last line that has one. None without one."""
    for line in reversed(command.replace("\\\n", " ").splitlines()):
        try:
            tokens = shlex.split(line, comments=True)
        except ValueError:  # an open quote
            tokens = line.split()
        for part in reversed(_simple_commands(tokens)):
            if call := _call(part):
                return call
    return None


def _simple_commands(tokens: list[str]) -> list[list[str]]:
    """Split at the operators of the shell."""
    parts: list[list[str]] = [[]]
    for token in tokens:
        if token in _ENDS:
            parts.append([])
        elif token.endswith(";"):
            parts[-1].append(token[:-1])
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _call(tokens: list[str]) -> ScriptCall | None:
    python, at = "", 0
    while at < len(tokens):
        token = tokens[at]
        if _PYTHON.fullmatch(token):
            python = token
        elif token == "-m" and at + 1 < len(tokens):
            module, rest = tokens[at + 1], tuple(tokens[at + 2 :])
            if not module.startswith(("torch.", "accelerate.")):
                return ScriptCall(module.replace(".", "/") + ".py", python, rest)
            at += 1
        elif token in _WITH_VALUE:
            at += 1
        elif token == "-c" and python:
            return None
        elif token.endswith((".py", ".pyw")):
            return ScriptCall(token, python, tuple(tokens[at + 1 :]))
        at += 1
    return None
