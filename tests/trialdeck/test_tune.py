"""`trialdeck tune`: from a script on the command line to the best values."""

from __future__ import annotations

import io
import json
import sys
import venv
from pathlib import Path

import pytest

from experiments.web.workspace.getting_started import PYTHON
from trialdeck import cli, errors
from trialdeck.script import read_script
from trialdeck.script.interpreters import candidates, check
from trialdeck.tune.parameters import parameters

SCRIPT = """
import argparse
import json
p = argparse.ArgumentParser()
p.add_argument("--lr", "--learning-rate", type=float, default=1e-3)
p.add_argument("--layers", type=int, default=3)
p.add_argument("--opt", choices=["adam", "sgd"], default="adam")
p.add_argument("--bias", action="store_true")
p.add_argument("--epochs", type=int, default=3)
a = p.parse_args()
print(f"{a.epochs} epochs, loss: {a.layers / 10}")
print("accuracy:", 1 - a.lr)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The current folder, with a script in it. There is no terminal."""
    (tmp_path / "train.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return tmp_path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_script_is_tuned_by_one_command(deck, folder, capfd):
    """TD-D7: the arguments are read, the printed number is the metric, and the best values end the output."""
    words = [
        "tune",
        "train.py",
        "--metric",
        "accuracy",
        "--maximize",
        "-n",
        "2",
        "--port",
        str(deck.port),
        "--seed",
        "1",
    ]
    assert cli.main([*words, "--python", sys.executable, "--", "--epochs", "7"]) == 0
    output = capfd.readouterr()
    first, best, *values, last = output.out.splitlines()
    experiment_id, url = first.split()
    assert last == url and experiment_id in url
    assert best.startswith("Best: accuracy = 0.9")
    assert [line.split(" = ")[0].strip() for line in values] == ["lr", "layers", "opt", "bias"]
    assert "maximize accuracy (from the output: accuracy: {number})" in output.err
    assert cli.main(["show", experiment_id, "--json", "--port", str(deck.port)]) == 0
    settings = json.loads(capfd.readouterr().out)["settings"]
    assert settings["command"].endswith("train.py --epochs 7") and settings["directory"] == str(folder)
    assert settings["space_document"]["lr"] == {"_type": "loguniform", "_value": [1e-5, 0.1]}
    assert (settings["passes_arguments"], settings["boolean_style"], settings["pattern"]) == (
        True,
        "flag",
        "accuracy: {number}",
    )
    assert cli.main(["logs", f"{experiment_id}-1", "--port", str(deck.port)]) == 0
    assert capfd.readouterr().out.startswith("7 epochs")


def test_the_lines_on_home_tune_a_script_that_prints_its_metric(deck, folder, capfd, monkeypatch):
    """TD-D7: as shown, but for the number of trials."""
    lines = PYTHON.format(slug="local").replace("trial_number = 20", "trial_number = 2")
    monkeypatch.setenv("TRIALDECK_URL", f"http://127.0.0.1:{deck.port}")
    names: dict = {}
    exec(lines, names)
    experiment = names["experiment"]
    assert experiment.get_status() == "DONE"
    assert "train: completed" in "".join(capfd.readouterr())


def test_a_search_whose_trials_all_fail_has_status_1(deck, folder, capfd):
    """TD-D7"""
    words = [
        "tune",
        "train.py",
        "-m",
        "accuracy",
        "--maximize",
        "-n",
        "1",
        "-p",
        "opt=adam,sgd",
        "-p",
        "layers=a",
    ]
    assert cli.main([*words, "--port", str(deck.port), "--python", sys.executable]) == 1
    output = capfd.readouterr()
    assert "No trial has a result." in output.out and "argument --layers: invalid int value" in output.err


@pytest.mark.parametrize(
    "script",
    [
        "train.py",
        "./train.py",
        "python train.py",
        "SEED=1 python train.py",
        "uv run train.py",
        "torchrun --nproc-per-node 2 train.py",
        "cd . && python train.py",
        "nice -n 10 python -u train.py",
        "my train.py",
    ],
)
def test_a_script_or_a_command_that_runs_it_is_read(folder, capsys, script):
    (folder / "my train.py").write_text(SCRIPT)
    assert cli.main(["tune", script, "--metric", "accuracy"]) == 2
    assert "The direction is missing. Add --maximize or --minimize" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "The metric is missing. Add --metric NAME. train.py reports or prints: accuracy, loss."),
        (
            ["--metric", "loss"],
            "The direction is missing. Add --maximize or --minimize (for 'loss' likely --minimize)",
        ),
    ],
)
def test_without_a_terminal_it_says_what_is_missing(folder, capsys, words, sentence):
    """TD-D7: a usage error, and no console is started."""
    assert cli.main(["tune", "train.py", *words]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["none.py"], "none.py does not exist."),
        (["train.py", "-p", "lrr=1,2"], "train.py has no argument 'lrr'. Did you mean 'lr'?"),
        (["train.py", "-p", "lr=logunifrm:1,2"], "unknown type 'logunifrm'. Did you mean 'loguniform'?"),
        (["train.py", "-p", "lr=loguniform:1"], "loguniform needs 2 numbers"),
        (["train.py", "-p", "lr="], "choice needs values"),
        (["train.py", "-p", "=1"], "A parameter needs a name"),
        (["train.py", "--duration", "soon"], "duration"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_starts(folder, capsys, words, sentence):
    usual = ["--metric", "accuracy", "--maximize", "--python", sys.executable]
    assert cli.main(["tune", *words, *usual]) == 1
    assert sentence in capsys.readouterr().err


def test_what_the_interpreter_lacks_is_said_before_the_start(folder, capsys):
    """TD-D7"""
    (folder / "train.py").write_text(f"import no_such_module\n{SCRIPT}")
    assert cli.main(["tune", "train.py", "-m", "accuracy", "--maximize", "--python", sys.executable]) == 1
    error = capsys.readouterr().err
    assert f"No module named 'no_such_module' in {sys.executable}" in error and "nothing was started" in error


def test_the_active_environment_runs_the_script(folder, tmp_path, monkeypatch):
    """TD-D7: what `python` means in the shell, although the command `trialdeck` is installed elsewhere."""
    active = tmp_path / "active"
    venv.create(active, symlinks=True)
    packages = active / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    (packages / "installed_there.py").write_text("")
    (folder / "train.py").write_text(f"import installed_there\n{SCRIPT}")
    monkeypatch.setenv("PATH", f"{active / 'bin'}:/usr/bin:/bin")
    shown = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    monkeypatch.setattr(sys, "stderr", shown)
    assert cli.main(["tune", "train.py", "-m", "accuracy", "--maximize"]) == 1
    assert f"Command:   {active / 'bin' / 'python'} train.py\n" in shown.getvalue()


def test_on_a_terminal_it_asks(folder, capsys, monkeypatch):
    """TD-D7: with the likely answers as defaults; "no" starts nothing."""
    answers = Terminal("\nmax\nno\n")
    errors_shown = Terminal()
    monkeypatch.setattr(sys, "stdin", answers)
    monkeypatch.setattr(sys, "stderr", errors_shown)
    assert cli.main(["tune", "train.py", "--python", sys.executable]) == 1
    text = errors_shown.getvalue()
    assert "Metric to optimize [accuracy]: " in text and "Maximize or minimize accuracy? [maximize]: " in text
    assert "lr      loguniform 1e-05, 0.1  (default 0.001)" in text
    assert text.endswith("Nothing was started.\n")
    monkeypatch.setattr(sys, "stdin", Terminal(""))
    assert cli.main(["tune", "train.py"]) == 2


def test_parameters_are_named_as_the_script_or_its_command_line_names_them():
    script = read_script(SCRIPT, "train.py")
    options = ["learning_rate=loguniform:1e-5,1e-1", "--opt=sgd, adam", "layers", "bias=True,False"]
    assert [(p.name, p.type, p.values) for p in parameters(options, script)] == [
        ("lr", "loguniform", [1e-5, 0.1]),
        ("opt", "choice", ["sgd", "adam"]),
        ("layers", "randint", [1, 7]),
        ("bias", "choice", [True, False]),
    ]


def test_values_keep_their_types():
    (parameter,) = parameters(['x=1,2.5,a,"b, c",[1, 2],None,nan,http://a:1'], read_script(""))
    assert parameter.values == [1, 2.5, "a", "b, c", [1, 2], None, "nan", "http://a:1"]


def test_a_script_without_arguments_needs_parameters():
    with pytest.raises(errors.Invalid, match="Name parameters with -p"):
        parameters([], read_script("print(1)"))


def test_what_the_command_sets_itself_is_not_searched():
    script = read_script(SCRIPT, "train.py")
    names = [parameter.name for parameter in parameters([], script, command_sets=lambda name: name == "lr")]
    assert names == ["layers", "opt", "bias"]


def test_the_environment_in_the_folder_comes_first(tmp_path):
    """TD-D7"""
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    (tmp_path / "src").mkdir()
    assert candidates(tmp_path / "src", {"PATH": str(Path(sys.executable).parent)})[:2] == [
        str(python),
        sys.executable,
    ]


def test_modules_beside_the_script_are_not_missing(tmp_path):
    (tmp_path / "helpers.py").write_text("raise SystemExit('not imported')\n")
    modules = read_script("import helpers, json, no_such_module, trialdeck").imports
    interpreter = check(sys.executable, modules, folder=tmp_path, env={})
    assert [module.name for module in interpreter.missing] == [
        "no_such_module"
    ] and interpreter.version.count(".") == 2


@pytest.mark.parametrize(
    ("python", "problem"),
    [
        ("/none/python", "There is no Python interpreter /none/python."),
        ("/bin/true", "/bin/true cannot be used: no output."),
    ],
)
def test_what_is_no_interpreter_is_a_sentence(tmp_path, python, problem):
    assert check(python, [], folder=tmp_path, env={}).fault == problem


REPORTS = """
import argparse
import trialdeck
p = argparse.ArgumentParser()
p.add_argument("--lr", type=float, default=1e-3)
a = p.parse_args()
trialdeck.report_final_result({"accuracy": 1 - a.lr, "latency_ms": 5 - a.lr})
"""


def test_several_objectives_end_with_the_pareto_front(deck, folder, capfd):
    """TD-C9: tune and best, with a metric and a direction each."""
    (folder / "train.py").write_text(REPORTS)
    words = ["tune", "train.py", "-m", "accuracy:maximize", "-m", "latency_ms:minimize", "-n", "2"]
    words += ["-p", "lr=uniform:0.1,0.2", "--port", str(deck.port), "--seed", "1", "--python", sys.executable]
    assert cli.main(words) == 0
    out, err = capfd.readouterr()
    assert "Objective: maximize accuracy, minimize latency_ms (reported by the script)" in err
    assert "Pareto front: 2 trials" in out and "best latency_ms = " in out
    public_id = out.split()[0]
    assert cli.main(["best", public_id, "--port", str(deck.port), "--json"]) in (0, None)
    front = json.loads(capfd.readouterr().out)
    assert len(front) == 2 and all({*each["values"]} == {"accuracy", "latency_ms"} for each in front)
    assert front[0]["values"]["accuracy"] > front[1]["values"]["accuracy"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-m", "a", "-m", "b:minimize"], "Several objectives need a direction each: --metric a:"),
        (["-m", "a:maximize", "-m", "a:minimize"], "--metric a occurs twice."),
        (["-m", "a:maximize", "--minimize"], "The direction of a is set twice."),
        (["-m", "a:maximize", "-m", "b:minimize", "--maximize"], "Several objectives need a direction each"),
    ],
)
def test_objectives_without_a_clear_direction_are_refused(folder, capsys, words, sentence):
    """TD-C9"""
    assert cli.main(["tune", "train.py", *words]) == 2
    assert sentence in capsys.readouterr().err
