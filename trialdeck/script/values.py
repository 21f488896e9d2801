"""Values of expressions, as far as they are known without running the script."""

from __future__ import annotations  # for Python 3.8

import ast
import math
import operator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAX_ITEMS = 200  # of a list of choices
MAX_DEPTH = 20
MAX_EVALUATIONS = 50_000  # of expressions of one script
MAX_SIZE = 10_000  # of a text or list that is put together


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        return False


UNKNOWN: Any = _Unknown()
_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


def dotted(node: ast.AST | None) -> str:
    """Return `a.b.c` for such an expression, else ""."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def last_name(node: ast.AST | None) -> str:
    """Return the last name of `a.b.c` or of `f().c`, else ""."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST) -> list[ast.Call]:
    """Return all calls, in the order of their lines."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return sorted(nodes, key=lambda node: (node.lineno, node.col_offset))


def text_of(node: ast.AST | None) -> str:
    """Return a text literal, with adjacent and added ones joined; else ""."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left) + text_of(node.right)
    return ""


def index_of(node: ast.Subscript) -> ast.AST:
    """Return the index expression in the brackets, which Python 3.8 wraps."""
    inner: ast.AST = node.slice
    return getattr(inner, "value") if type(inner).__name__ == "Index" else inner  # noqa: B009


class Scope:
    """The names of a script whose values are known: those that are assigned once, functions and classes."""

    def __init__(self, tree: ast.Module) -> None:
        self.calls = calls(tree)
        self._evaluations = 0
        self.converters: dict[str, str] = {}  # the kinds that functions of the script convert to
        self.functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        self.assigned: dict[str, list[ast.expr]] = {}
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self.functions[node.name] = node
            elif isinstance(node, ast.ClassDef):
                self.classes[node.name] = node
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self.assigned.setdefault(target.id, []).append(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
                self.assigned.setdefault(node.target.id, []).append(node.value)
            elif isinstance(node, (ast.AugAssign, ast.For)) and isinstance(node.target, ast.Name):
                self.assigned.setdefault(node.target.id, []).extend([ast.Name(id="")] * 2)

    def assignment(self, name: str) -> ast.expr | None:
        """Return the only expression that is assigned to this name."""
        values = self.assigned.get(name, [])
        return values[0] if len(values) == 1 else None

    def enum_values(self, name: str) -> tuple[Any, ...]:
        """Return the values of a class of constants, such as an Enum."""
        definition = self.classes.get(name)
        if definition is None or not any("Enum" in last_name(base) for base in definition.bases):
            return ()
        values = []
        for statement in definition.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                value = self.value(statement.value)
                if isinstance(statement.value, ast.Call):  # auto(): typer and click show the name
                    value = statement.targets[0].id.lower()
                if value is not UNKNOWN:
                    values.append(value)
        return tuple(values)

    def value(self, node: ast.AST | None, depth: int = 0) -> Any:
        """Return the value of an expression, or UNKNOWN."""
        self._evaluations += 1
        if node is None or depth > MAX_DEPTH or self._evaluations > MAX_EVALUATIONS:
            return UNKNOWN
        if isinstance(node, ast.Constant):
            return UNKNOWN if isinstance(node.value, (bytes, complex, type(...))) else node.value
        try:
            return self._value(node, depth + 1)
        except (ArithmeticError, TypeError, ValueError, RecursionError):
            return UNKNOWN

    def _value(self, node: ast.AST, depth: int) -> Any:
        if isinstance(node, ast.Name):
            return self.value(self.assignment(node.id), depth)
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            items = [self.value(item, depth) for item in node.elts[:MAX_ITEMS]]
            return UNKNOWN if UNKNOWN in items else items
        if isinstance(node, ast.Dict):
            keys = [self.value(key, depth) for key in node.keys[:MAX_ITEMS]]
            values = [self.value(item, depth) for item in node.values[:MAX_ITEMS]]
            return {key: item for key, item in zip(keys, values) if isinstance(key, str)}  # noqa: B905
        if isinstance(node, ast.UnaryOp):
            return self._unary(node, depth)
        if isinstance(node, ast.BinOp):
            return self._binary(node, depth)
        if isinstance(node, ast.Attribute):
            return self._attribute(node, depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp)):
            return self._comprehension(node)
        return UNKNOWN

    def _unary(self, node: ast.UnaryOp, depth: int) -> Any:
        value = self.value(node.operand, depth)
        if value is UNKNOWN:
            return UNKNOWN
        if isinstance(node.op, ast.USub):
            return -value
        return +value if isinstance(node.op, ast.UAdd) else (not value)

    def _binary(self, node: ast.BinOp, depth: int) -> Any:
        left, right = self.value(node.left, depth), self.value(node.right, depth)
        if left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        if isinstance(node.op, (ast.Pow, ast.LShift)):
            if not _are_numbers(left, right) or abs(right) > 64 or abs(left) > 1 << 64:
                return UNKNOWN
            return left**right if isinstance(node.op, ast.Pow) else left << right
        apply = _OPERATORS.get(type(node.op))
        if apply is None or (isinstance(node.op, ast.Mult) and not _are_numbers(left, right)):
            return UNKNOWN
        if not _are_numbers(left, right) and len(left) + len(right) > MAX_SIZE:
            return UNKNOWN
        value = apply(left, right)
        return value if not isinstance(value, float) or math.isfinite(value) else UNKNOWN

    def _attribute(self, node: ast.Attribute, depth: int) -> Any:
        """`Opt.ADAM`, `Opt.ADAM.value` and `math.pi`."""
        name = dotted(node)
        if name in ("math.pi", "np.pi", "numpy.pi"):
            return math.pi
        if name.endswith(".value"):
            return self.value(node.value, depth)
        owner, _, member = name.rpartition(".")
        definition = self.classes.get(owner)
        for statement in definition.body if definition else ():
            if isinstance(statement, ast.Assign) and last_name(statement.targets[0]) == member:
                return self.value(statement.value, depth)
        return UNKNOWN

    def _call(self, node: ast.Call, depth: int) -> Any:
        """`range(…)`, `list(…)`, `sorted(…)`, `MODELS.keys()`, `float("1e-3")`, `Path("data")`."""
        name = last_name(node.func)
        if name in ("keys", "values") and isinstance(node.func, ast.Attribute):
            return self._of_dict(node.func.value, name, depth)
        if (
            name in ("list", "tuple", "set", "sorted", "dict", "range", "float", "int", "str", "Path")
            and node.args
        ):
            if name in ("list", "tuple", "sorted", "set"):
                inner = self.value(node.args[0], depth)
                keys = self._of_dict(node.args[0], "keys", depth) if isinstance(inner, dict) else inner
                if keys is UNKNOWN and isinstance(node.args[0], ast.Name):
                    keys = list(self.enum_values(node.args[0].id)) or UNKNOWN
                return sorted(keys) if name == "sorted" and keys is not UNKNOWN else keys
            arguments = [self.value(argument, depth) for argument in node.args[:3]]
            if UNKNOWN in arguments:
                return UNKNOWN
            if name == "range":
                numbers = range(*arguments)
                return list(numbers) if len(numbers) <= MAX_ITEMS else UNKNOWN
            return {"float": float, "int": int}.get(name, str)(arguments[0])
        return UNKNOWN

    def _of_dict(self, node: ast.AST, part: str, depth: int) -> Any:
        """Return the keys or values of a dictionary; its values need not be known for its keys."""
        target = self.assignment(node.id) if isinstance(node, ast.Name) else node
        if not isinstance(target, ast.Dict):
            return UNKNOWN
        items = [self.value(item, depth) for item in (target.keys if part == "keys" else target.values)]
        return UNKNOWN if UNKNOWN in items else items

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> Any:
        """`[e.value for e in Opt]`"""
        source = node.generators[0].iter
        if isinstance(source, ast.Name) and (values := self.enum_values(source.id)):
            return list(values)
        return UNKNOWN


def _are_numbers(*values: object) -> bool:
    return all(isinstance(value, (int, float)) for value in values)
