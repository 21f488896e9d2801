"""Read the arguments, metrics and imports of a script without running it."""

from __future__ import annotations  # for Python 3.8

from trialdeck.script.command import ScriptCall, script_call
from trialdeck.script.interpreters import Interpreter
from trialdeck.script.model import Argument, ImportedModule, MetricCall, Script, ScriptError
from trialdeck.script.passing import Passing, passing
from trialdeck.script.reading import read_script, read_script_file
from trialdeck.script.suggestions import Suggestion, suggestion

__all__ = [
    "Argument",
    "ImportedModule",
    "Interpreter",
    "MetricCall",
    "Passing",
    "Script",
    "ScriptCall",
    "ScriptError",
    "Suggestion",
    "passing",
    "read_script",
    "read_script_file",
    "script_call",
    "suggestion",
]
