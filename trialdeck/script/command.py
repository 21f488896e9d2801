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
    `words` what follows it.
    """

    script: str
    python: str = ""
    words: tuple[str, ...] = ()

    def sets(self, name: str) -> bool:
        """Whether the command sets this argument itself."""
        return any(
            word.lstrip("-").partition("=")[0] == name
            for word in self.words
            if word.startswith("-") or "=" in word
        )


def script_call(command: str) -> ScriptCall | None:
    """Return the call of a Python script in a command: of its last line that has one. None without one."""
    for line in reversed(command.replace("\\\n", " ").splitlines()):
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # an open quote
            words = line.split()
        for part in reversed(_parts(words)):
            if call := _call(part):
                return call
    return None


def _parts(words: list[str]) -> list[list[str]]:
    """Split at the operators of the shell."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word in _ENDS:
            parts.append([])
        elif word.endswith(";"):
            parts[-1].append(word[:-1])
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def _call(words: list[str]) -> ScriptCall | None:
    python, at = "", 0
    while at < len(words):
        word = words[at]
        if _PYTHON.fullmatch(word):
            python = word
        elif word == "-m" and at + 1 < len(words):
            module, rest = words[at + 1], tuple(words[at + 2 :])
            if not module.startswith(("torch.", "accelerate.")):
                return ScriptCall(module.replace(".", "/") + ".py", python, rest)
            at += 1
        elif word in _WITH_VALUE:
            at += 1
        elif word == "-c" and python:
            return None
        elif word.endswith((".py", ".pyw")):
            return ScriptCall(word, python, tuple(words[at + 1 :]))
        at += 1
    return None
