"""What a script connects to its ClearML task, with the real packages: nobody replaces what nobody overrode."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from experiments.runner.dialects import clearml
from experiments.runner.dialects.run_context import RunContext
from experiments.runner.trial_folder import TrialFolder
from tests.support.foreign import python_with

# The first one on a machine builds the environments.
pytestmark = pytest.mark.timeout(600)

BEGIN = """
import argparse, json
from clearml import Task
from clearml.task_parameters import TaskParameters, param
task = Task.init(project_name="any", task_name="any", auto_resource_monitoring=False)
"""

DICTS = """
parameters = {
    "list": [1, 2, 3], "dict": {"text": "a", "whole": 11, "deep": {"x": 1}}, "float": 2.2, "lr": 0.1, "int": 3,
    "net": {"depth": 1},
}
parameters = task.connect(parameters)
parameters["new"] = "this is new"
parameters["float"] = "9.9"
nested = parameters["dict"]
nested["text"] = "b"
nested["more"] = 1
nested["deep"]["x"] = 5
nested["deep"]["y"] = [1]
parameters["net"]["depth"] = 2
parameters["net"]["width"] = 3
parameters["lr"] = 7
parameters["late"] = 3
parameters.update(int=4)
print(json.dumps([parameters, parameters["dict"] is nested]))
print(json.dumps(task.connect({"float": 1.0, "lr": 3.0})))
print(json.dumps([task.connect({"a": 1}, name=name) for name in ("Other", "Other")]))
"""

OBJECTS = """
class Net:
    width = 3
    lr = 0.1

    def __init__(self):
        self.depth = 2
        self.lr = 0.5
        self.options = {"a": 1}

net = Net()
options = net.options
task.connect(net, name="Object")
net.depth = 9
print(json.dumps([net.width, net.depth, net.lr, net.options is options]))
task.connect(Net, name="Object")
print(json.dumps([Net.width, Net.lr]))

class Parameters(TaskParameters):
    own = param(type=float, desc="own")
    lr = param(type=float, desc="rate")

for parameters in (Parameters(own=4.0, lr=3.0), Parameters(own=4.0, lr=None)):
    task.connect(parameters)
    print(json.dumps([parameters.own, parameters.lr]))
"""

CONFIGURATION = """
first = task.connect_configuration({"a": 1})
first["a"] = 2
first["b"] = 3
second = task.connect_configuration({"z": 1})
net = task.connect_configuration({"depth": 1, "opt": {"eps": 1}}, name="net")
net["depth"] = 5
net["extra"] = 1
net["opt"]["more"] = 2
print(json.dumps([first, second, net]))
texts = []
for number in (1, 2):
    with open(f"{number}.yaml", "w") as file:
        file.write(f"n: {number}")
    with open(task.connect_configuration(f"{number}.yaml")) as file:
        texts.append(file.read())
print(json.dumps(texts))
print(json.dumps(task.connect_label_enumeration({"cat": 1})))
"""

PARSERS = """
for default in (1, 2):
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=default)
    parser.add_argument("--lr", type=float, default=default)
    parser.add_argument("--flag", action="store_true", default=default == 2)
    print(json.dumps(vars(parser.parse_args([]))))
"""


@pytest.fixture(params=["clearml", "clearml1"])
def said_by(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Run a script as a trial whose experiment overrides some values; return the JSON that it prints, by line."""
    folder = TrialFolder(tmp_path, "7f3k2m9q", 1)
    folder.create()
    context = RunContext(
        folder=folder,
        experiment_id="7f3k2m9q",
        number=1,
        params={"lr": 0.05, "General/late": 8, "General/net/depth": 6, "Object/lr": 0.25},
        objective="loss",
        cwd=tmp_path,
        environment={"HOME": str(tmp_path)},
        hyperparameters={"General": {"unused": {"value": "1"}}},
        objects={"net": "depth = 9\nopt { eps = 3 }"},
    )

    def run(script: str) -> list[Any]:
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **clearml.prepare(context)}
        (tmp_path / "script.py").write_text(BEGIN + script)
        done = subprocess.run(
            [python_with(request.param), "script.py"], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0 and "trialdeck:" not in done.stderr, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines() if line[:1] in "[{"]

    return run


def test_a_connected_dict_keeps_what_the_script_writes(said_by) -> None:
    """TD-V13: later writes, nested ones and those through a reference too; what is overridden stays so."""
    (parameters, is_same), again, others = said_by(DICTS)
    assert parameters == {
        "list": [1, 2, 3],
        "dict": {"text": "b", "whole": 11, "deep": {"x": 5, "y": [1]}, "more": 1},
        "float": "9.9",
        "lr": 0.05,
        "int": 4,
        "net": {"depth": 6, "width": 3},
        "new": "this is new",
        "late": 8,
    }
    assert is_same
    assert again == {"float": 1.0, "lr": 0.05}
    assert others == [{"a": 1}, {"a": 1}]


def test_a_connected_object_keeps_what_the_script_sets(said_by) -> None:
    """TD-V13: instances, classes and ClearML's own TaskParameters, whose types overridden values have."""
    assert said_by(OBJECTS) == [[3, 9, 0.25, True], [3, 0.25], [4.0, 0.05], [4.0, 0.05]]


def test_a_configuration_is_the_scripts_unless_it_is_overridden(said_by) -> None:
    """TD-V13: several without a name do not replace each other; an overridden one can be added to."""
    assert said_by(CONFIGURATION) == [
        [{"a": 2, "b": 3}, {"z": 1}, {"depth": 9, "opt": {"eps": 3, "more": 2}, "extra": 1}],
        ["n: 1", "n: 2"],
        {"cat": 1},
    ]


def test_two_parsers_have_their_own_defaults(said_by) -> None:
    """TD-V13: also where both have an argument of the same name."""
    assert said_by(PARSERS) == [
        {"epochs": 1, "lr": 0.05, "flag": False},
        {"epochs": 2, "lr": 0.05, "flag": True},
    ]
