"""The calls of a script that report or print numbers."""

from __future__ import annotations  # for Python 3.8

import ast
import re
from dataclasses import replace

from trialdeck.script.model import MetricCall
from trialdeck.script.values import dotted, last_name, text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trialdeck.script.values import Scope

_PRINTS = ("print", "echo", "info", "write", "log", "warning", "secho", "rprint")
_WRITERS = ("sys.stdout.write", "tqdm.write", "sys.stderr.write")
_SCORES = re.compile(
    r"score|acc|loss|auc|f1|error|err$|mse|mae|r2|metric|result|reward|precision|recall|iou|bleu"
)
_FORMAT = re.compile(r"%(?:\((\w+)\))?[-+ #0]*\d*(?:\.\d+)?[sdifgeEGr]|\{[^{}]*\}")
_LABEL = re.compile(r"([\"']?)([A-Za-z][\w@/\- ]*?(?:\s*\(%\)|\s*\[%\])?)([\"']?\s*[:=]?\s*)$")
_SPECIAL = re.compile(r"([.^$*+?{}\[\]\\|()])")
MAX_METRICS = 50
MAX_LABEL = 80
MAX_TEXT = 2000  # of a printed text
# Names of numbers that are not results.
_NOT_METRICS = {
    *(
        "epoch",
        "epochs",
        "step",
        "steps",
        "iter",
        "iters",
        "iteration",
        "batch",
        "batches",
        "fold",
        "seed",
        "size",
    ),
    *(
        "time",
        "seconds",
        "sec",
        "elapsed",
        "lr",
        "learning rate",
        "eta",
        "trial",
        "round",
        "n",
        "of",
        "in",
        "took",
    ),
    *(
        "device",
        "using device",
        "path",
        "file",
        "model",
        "saved",
        "version",
        "parameters",
        "params",
        "args",
        "rank",
    ),
    *("saved to", "loading", "config", "usage", "error"),
}
_PARAMETER_WORDS = {"lr", "seed", "batch_size", "epochs"}


def metric_calls(scope: Scope) -> tuple[MetricCall, ...]:
    """Return the metrics that a script reports or prints, most likely objective first: final results, then printed
    numbers from the last line of the script upward, then intermediate results."""
    result: dict[tuple[str, str], MetricCall] = {}
    for call in scope.calls:
        for metric in _metrics(call, scope):
            key = (metric.source, metric.name)
            before = result.get(key)
            if before is None or metric.line >= before.line or metric.is_final:
                result[key] = metric
    metrics = sorted(result.values(), key=lambda metric: (_rank(metric), -metric.line))[:MAX_METRICS]
    return tuple(_simplified(metric, metrics) for metric in metrics)


def _simplified(metric: MetricCall, other_metrics: Iterable[MetricCall]) -> MetricCall:
    """`^acc: {number}` keeps its ^ only if `val_acc: {number}` is printed, too."""
    if metric.source != "stdout" or metric.pattern == "^{number}$":
        return metric
    bare = metric.pattern.lstrip("^")
    is_part = any(
        other.pattern.endswith(bare) and other.pattern.lstrip("^") != bare for other in other_metrics
    )
    if not is_part:
        return replace(metric, pattern=bare)
    return metric if metric.pattern.startswith("^") else replace(metric, pattern=rf"\b{bare}")


def _rank(metric: MetricCall) -> int:
    if metric.source == "sdk":
        return 0 if metric.is_final else 2
    return 1


def _metrics(call: ast.Call, scope: Scope) -> Iterator[MetricCall]:
    name = last_name(call.func)
    if name in ("report_final_result", "report_intermediate_result") and call.args:
        for reported in _reported(call.args[0], scope):
            yield MetricCall(reported, "sdk", call.lineno, is_final="final" in name)
    elif name in ("report_scalar", "report_single_value"):
        texts = {keyword.arg: text_of(keyword.value) for keyword in call.keywords}
        names = [text_of(node) for node in call.args[:2]]
        title = texts.get("title") or texts.get("name") or (names[0] if names else "")
        series = texts.get("series") or (names[1] if len(names) > 1 and name == "report_scalar" else title)
        if title and series:
            yield MetricCall(title if series == title else f"{title}/{series}", "sdk", call.lineno)
    elif name in _PRINTS and call.args and (name != "write" or dotted(call.func) in _WRITERS):
        yield from _printed(call)


def _reported(node: ast.AST, scope: Scope) -> list[str]:
    """Return the names in a reported dictionary; a number is "default", the objective itself."""
    target = scope.assignment(node.id) if isinstance(node, ast.Name) else node
    if isinstance(target, ast.Dict):
        return [key for key in map(text_of, target.keys) if key] or ["default"]
    return ["default"]


def _printed(call: ast.Call) -> Iterator[MetricCall]:
    alone = _alone(call.args[0]) if len(call.args) == 1 else ""
    if _SCORES.search(alone.lower()):
        yield MetricCall(alone, "stdout", call.lineno, pattern="^{number}$")
    for place, label in enumerate(_labels(call.args)):
        match = _LABEL.search(label[-MAX_LABEL:])
        if match and _is_metric(match[2].strip()):
            key, pattern = labeled_number(label)
            begins_line = place == 0 and match.start() == 0 and len(label) <= MAX_LABEL
            yield MetricCall(key, "stdout", call.lineno, pattern=f"^{pattern}" if begins_line else pattern)


def labeled_number(text: str) -> tuple[str, str]:
    """Return (name, expression) of the number that follows this text in an output: ("accuracy", "accuracy: {number}").
    Both are empty if the text does not end with a label."""
    match = _LABEL.search(text[-MAX_LABEL:])
    if not match:
        return "", ""
    return re.sub(r"\W+", "_", match[2]).strip("_").lower(), f"{_escaped(match[0])}{{number}}"


def _alone(node: ast.AST) -> str:
    """Return the name of a number that is printed alone, as in `print(score)` and `print(round(score, 4))`."""
    if isinstance(node, ast.JoinedStr):
        node = node.values[0] if len(node.values) == 1 else node
        return _alone(node.value) if isinstance(node, ast.FormattedValue) else ""
    if isinstance(node, ast.Call) and last_name(node.func) in ("round", "float", "str", "item"):
        inner = node.args[0] if node.args else getattr(node.func, "value", None)
        return _alone(inner) if inner is not None else ""
    return last_name(node)


def _labels(nodes: list[ast.expr]) -> Iterator[str]:
    """Yield the text in front of each number of a print: `"acc:", acc`, f"acc {acc}", "acc %f" % acc, and
    `"acc {}".format(acc)`, `json.dumps({"acc": acc})`."""
    before = ""
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            before = ""
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield before
                    before = ""
                else:
                    before += text_of(part)
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and not text_of(node.right):
            yield text_of(node.left) or before  # "acc: " + str(acc), or a sum of numbers after its label
            before = ""
        elif text := text_of(node):
            pieces = _pieces(text)
            if len(pieces) > 1:  # logging's arguments follow
                yield from pieces[:-1]
            before = f"{pieces[-1]} "
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            yield from _pieces(text_of(node.left))[:-1]
        elif isinstance(node, ast.Call):
            yield from _labels_of_call(node, before)
            before = ""
        else:
            if before:
                yield before
            before = ""


def _pieces(text: str) -> list[str]:
    """Return the text around the placeholders of a format."""
    return _FORMAT.split(text[:MAX_TEXT])[0::2]


def _labels_of_call(node: ast.Call, before: str) -> Iterator[str]:
    if last_name(node.func) == "format" and isinstance(node.func, ast.Attribute):
        yield from _pieces(text_of(node.func.value))[:-1]
    elif last_name(node.func) == "dumps" and node.args and isinstance(node.args[0], ast.Dict):
        for key in map(text_of, node.args[0].keys):
            yield f'"{key}": '
    elif before:
        yield before


def _is_metric(name: str) -> bool:
    lowered = name.lower()
    return (
        lowered not in _NOT_METRICS
        and len(lowered) > 1
        and lowered.split()[-1] not in _NOT_METRICS | _PARAMETER_WORDS
    )


def _escaped(label: str) -> str:
    """Return the label as a regular expression; runs of spaces and tabs match any."""
    return re.sub(r"\s{2,}|[^\S ]", r"\\s+", _SPECIAL.sub(r"\\\1", label))
