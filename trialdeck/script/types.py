"""The type of an argument: from the function that converts it, from an annotation, from its default."""

from __future__ import annotations  # for Python 3.8

import ast

from trialdeck.script.model import BOOLEAN, FLOAT, INTEGER, PATH, TEXT
from trialdeck.script.values import UNKNOWN, calls, dotted, index_of, last_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from trialdeck.script.values import Scope

_BY_NAME = {
    **dict.fromkeys(("int", "INT", "Int", "integer", "PositiveInt", "NonNegativeInt"), INTEGER),
    **dict.fromkeys(("float", "FLOAT", "Float", "PositiveFloat", "NonNegativeFloat", "Decimal"), FLOAT),
    **dict.fromkeys(("bool", "BOOL", "Bool", "strtobool"), BOOLEAN),
    **dict.fromkeys(("Path", "PurePath", "FileType", "File", "FilePath", "DirectoryPath", "FileText"), PATH),
    **dict.fromkeys(("str", "STRING", "Text", "loads", "literal_eval", "eval"), TEXT),
}
_WRAPPERS = ("Optional", "Annotated", "Final", "ClassVar")
_LISTS = ("list", "List", "tuple", "Tuple", "Sequence", "set", "Set", "Iterable", "ListConfig")


def kind_of_value(value: Any) -> str:
    """Return the kind of a default or a choice; text for None."""
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, (int, float)):
        return INTEGER if isinstance(value, int) else FLOAT
    return TEXT


def kind_of_choices(choices: Any) -> str:
    kinds = {kind_of_value(choice) for choice in choices}
    if kinds == {INTEGER, FLOAT}:
        return FLOAT
    return kinds.pop() if len(kinds) == 1 else TEXT


def kind_of_converter(node: ast.AST | None, scope: Scope) -> str:
    """Return the kind that a converter (`int`, `click.INT`, `lambda s: float(s)`) makes of a text, or ""."""
    if node is None:
        return ""
    if isinstance(node, ast.Call):  # FileType("r"), click.Path(exists=True), partial(float)
        if last_name(node.func) == "partial" and node.args:
            return kind_of_converter(node.args[0], scope)
        return kind_of_converter(node.func, scope)
    name = last_name(node)
    if name in _BY_NAME:
        return _BY_NAME[name]
    if "bool" in name.lower():
        return BOOLEAN
    body: ast.AST | None = node if isinstance(node, ast.Lambda) else scope.functions.get(name)
    if body is None:
        return next((kind for word, kind in (("int", INTEGER), ("float", FLOAT)) if word in name.lower()), "")
    if name not in scope.converters or isinstance(body, ast.Lambda):
        scope.converters[name] = _kind_of_body(body)
    return scope.converters[name]


def _kind_of_body(body: ast.AST) -> str:
    inner = {last_name(call.func) for call in calls(body)}
    if "split" in inner:
        return TEXT
    if _compares_with_true(body):
        return BOOLEAN
    return FLOAT if "float" in inner else INTEGER if "int" in inner else TEXT


def _compares_with_true(body: ast.AST) -> bool:
    texts = {
        node.value.lower()
        for node in ast.walk(body)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return "true" in texts


def annotated(node: ast.AST | None, scope: Scope) -> tuple[str, bool, tuple[Any, ...]]:
    """Return (kind, is a list, choices) of an annotation such as `Optional[int]`, `list[str]`, `Literal["a", "b"]`, an
    Enum, or `int | None`."""
    if node is None:
        return "", False, ()
    if isinstance(node, ast.Constant) and isinstance(node.value, str):  # a quoted annotation
        try:
            return annotated(ast.parse(node.value, mode="eval").body, scope)
        except (SyntaxError, ValueError):
            return "", False, ()
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        sides = [side for side in (node.left, node.right) if not _is_none(side)]
        return annotated(sides[0], scope) if len(sides) == 1 else (TEXT, False, ())
    if isinstance(node, ast.Subscript):
        return _subscripted(node, scope)
    name = last_name(node)
    if choices := scope.enum_values(name):
        return kind_of_choices(choices), False, choices
    return (TEXT, True, ()) if name in _LISTS else (_BY_NAME.get(name, ""), False, ())


def _subscripted(node: ast.Subscript, scope: Scope) -> tuple[str, bool, tuple[Any, ...]]:
    name, inner = last_name(node.value), index_of(node)
    items = list(inner.elts) if isinstance(inner, ast.Tuple) else [inner]
    if name == "Literal":
        choices = tuple(value for item in items if (value := scope.value(item)) is not UNKNOWN)
        return kind_of_choices(choices), False, choices
    if name in _LISTS:
        return annotated(items[0], scope)[0], True, ()
    if name == "Union":
        items = [item for item in items if not _is_none(item)]
        return annotated(items[0], scope) if len(items) == 1 else (TEXT, False, ())
    return annotated(items[0], scope) if name in _WRAPPERS else ("", False, ())


def _is_none(node: ast.AST) -> bool:
    return (isinstance(node, ast.Constant) and node.value is None) or dotted(node) in ("None", "NoneType")
