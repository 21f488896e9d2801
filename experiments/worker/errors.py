"""Errors of a worker that cannot run, or cannot prepare a trial."""

from __future__ import annotations


class CannotRun(Exception):
    """This worker cannot run, for example because another process uses its folder or name. The text is for users."""


class SetupFailed(Exception):
    """The trial could not be prepared. The text is one line for its row; `tool_output` is the output of a tool."""

    def __init__(self, sentence: str, tool_output: str = "") -> None:
        super().__init__(sentence)
        self.tool_output = tool_output
