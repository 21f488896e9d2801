"""The metrics, imports and the command line of a script."""

from __future__ import annotations

from textwrap import dedent

import pytest

from experiments.runner.output import metric_pattern
from trialdeck.script import read_script, script_call


def metrics(text: str) -> list[tuple[str, str, str]]:
    return [(metric.name, metric.source, metric.pattern) for metric in read_script(dedent(text)).metrics]


@pytest.mark.parametrize(
    ("text", "output", "pattern"),
    [
        ('print("accuracy:", score)', "accuracy: 0.9", "accuracy: {number}"),
        ('print(f"accuracy: {score:.4f}")', "accuracy: 0.9", "accuracy: {number}"),
        ('print("accuracy: %.4f" % score)', "accuracy: 0.9", "accuracy: {number}"),
        ('print("accuracy: {:.4f}".format(score))', "accuracy: 0.9", "accuracy: {number}"),
        ('logger.info("accuracy: %s", score)', "accuracy: 0.9", "accuracy: {number}"),
        ('print(f"epoch {e} lr {lr} accuracy={score}")', "epoch 1 lr 3 accuracy=0.9", "accuracy={number}"),
        ('print("Accuracy (%): " + str(s), s)', "Accuracy (%): 0.9", r"Accuracy \(%\): {number}"),
        ('print("accuracy:", 0.9 - loss + depth * 0.1)', "accuracy: 0.9", "accuracy: {number}"),
        ('print("epoch", 1, "accuracy=", a + b)', "epoch 1 accuracy= 0.9", "accuracy= {number}"),
        ('print(json.dumps({"accuracy": score}))', '{"accuracy": 0.9}', '"accuracy": {number}'),
        ('click.echo(f"{accuracy=}")', "accuracy=0.9", "accuracy={number}"),
        ("print(round(accuracy, 4))", "0.9", "^{number}$"),
    ],
)
def test_a_printed_number_gets_the_expression_that_reads_it(text, output, pattern):
    """TD-D7"""
    ((name, source, written),) = metrics(text)
    assert (name.partition("_")[0].lower(), source, written) == ("accuracy", "stdout", pattern)
    reader = metric_pattern.PatternReader(written, "accuracy")
    assert [report.value for report in reader.feed(f"{output}\n".encode())] == [0.9]


def test_the_last_printed_number_comes_first_and_no_label_is_mistaken_for_another():
    printed = metrics('print(f"loss {a} val_acc: {b}")\nprint("acc:", c)\nprint("saved to", path)')
    assert printed == [
        ("acc", "stdout", "^acc: {number}"),
        ("loss", "stdout", "loss {number}"),
        ("val_acc", "stdout", "val_acc: {number}"),
    ]


def test_reported_metrics_are_named():
    """TD-D7: NNI's, ours and ClearML's, final results first."""
    assert metrics(
        """
        nni.report_intermediate_result(loss)
        logger.report_scalar("loss", "val", value=1, iteration=2)
        logger.report_scalar(title="auc", series="auc", value=1, iteration=2)
        trialdeck.report_final_result({"default": acc, "size": 3})
        """
    ) == [
        ("default", "sdk", ""),
        ("size", "sdk", ""),
        ("auc", "sdk", ""),
        ("loss/val", "sdk", ""),
    ]


def test_the_direction_follows_the_name():
    directions = {m.name: m.direction for m in read_script('print("rmse", a)\nprint("auc", b)').metrics}
    assert directions == {"rmse": "minimize", "auc": "maximize"}


def test_only_imports_that_must_succeed_count():
    """TD-D7"""
    text = """
        from __future__ import annotations
        import numpy as np, os.path
        from sklearn.datasets import load_digits
        from . import sibling
        try:
            import wandb
        except ImportError:
            wandb = None
        if TYPE_CHECKING:
            import torch
        def plot():
            import matplotlib
        if __name__ == "__main__":
            import tqdm
    """
    imports = [(module.name, module.line) for module in read_script(dedent(text)).imports]
    assert imports == [("numpy", 3), ("os", 3), ("sklearn", 4), ("tqdm", 15)]


@pytest.mark.parametrize(
    ("command", "call"),
    [
        ("python train.py", ("python", "train.py", ())),
        ("cd x && CUDA_VISIBLE_DEVICES=0 .venv/bin/python3.11 -u src/train.py --epochs 3",
         (".venv/bin/python3.11", "src/train.py", ("--epochs", "3"))),
        ("python -m pkg.train run", ("python", "pkg/train.py", ("run",))),
        ("torchrun --nproc 2 train.py --amp", ("", "train.py", ("--amp",))),
        ("python -W ignore train.py | tee log", ("python", "train.py", ())),
        ("pip install x\npython train.py \\\n  --a 1", ("python", "train.py", ("--a", "1"))),
        ("./train.py 'unclosed", ("", "./train.py", ("'unclosed",))),
    ],
)  # fmt: skip
def test_the_script_of_a_command_is_recognized(command, call):
    parts = script_call(command)
    assert parts and (parts.python, parts.script, parts.arguments) == call


def test_a_command_without_a_script_has_none():
    assert script_call("./run.sh --lr 1") is None and script_call("python -c 'print(1)'") is None
    assert script_call("") is None


def test_what_the_command_sets_itself_is_known():
    call = script_call("python train.py --epochs 3 --lr=1 model=x -v")
    assert call and [call.sets(name) for name in ("epochs", "lr", "model", "v", "x")] == [True] * 4 + [False]
