"""The packages that a script imports whenever it runs."""

from __future__ import annotations  # for Python 3.8

import ast

from trialdeck.script.model import ImportedModule
from trialdeck.script.values import dotted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def imports(tree: ast.Module) -> tuple[ImportedModule, ...]:
    """Return the modules (`sklearn`, the first part of the name) that the script imports at its top level, each with
    its first line. Imports in functions and in `try` are left out: the script may run without them."""
    result: dict[str, ImportedModule] = {}
    for node in _statements(tree.body):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names = [node.module]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            if top != "__future__":
                result.setdefault(top, ImportedModule(top, node.lineno))
    return tuple(result.values())


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run for certain, `with` blocks and `if __name__ == "__main__"` included."""
    for node in body:
        yield node
        is_main = (
            isinstance(node, ast.If)
            and isinstance(node.test, ast.Compare)
            and dotted(node.test.left) == "__name__"
        )
        if isinstance(node, (ast.With, ast.AsyncWith)) or (is_main and isinstance(node, ast.If)):
            yield from _statements(node.body)
