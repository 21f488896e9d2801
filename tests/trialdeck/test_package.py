"""The distribution: built without a network, installed, small to import, good for old Pythons."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import trialdeck

ROOT = Path(__file__).parents[2]
OLD = sorted(Path.home().glob(".pyenv/versions/3.8.*/bin/python3.8"))

# Whatever the unit tests of the package do, in short: all modules, the configuration, shapes, an unreachable console.
TOUR = """
import glob, importlib, os, sys, trialdeck
folder = os.path.dirname(trialdeck.__file__)
for path in glob.glob(os.path.join(folder, "**", "*.py"), recursive=True):
    name = os.path.relpath(path, folder)[:-3].replace(os.sep, ".")
    if "__" not in name:
        importlib.import_module("trialdeck." + name)
for name in trialdeck.__all__:
    getattr(trialdeck, name)
experiment = trialdeck.Experiment("local", id="mine")
experiment.config.trialCommand = "python train.py"
experiment.config.search_space = {"x": {"_type": "uniform", "_value": [0, 1]}}
experiment.config.tuner.class_args["optimize_mode"] = "minimize"
experiment.config.max_experiment_duration = "1.5h"
document = experiment.config.document(start=True)
assert document["name"] == "mine" and document["settings"]["max_duration_s"] == 5400, document
assert trialdeck.trial.get_next_parameter() == {}
from trialdeck import cli
from trialdeck.nni import types as nni_types
assert nni_types.milliseconds("1970-01-01T00:00:01.5Z") == 1500
sys.exit(cli.main(["ls", "--url", "http://127.0.0.1:9"]))
"""


def test_a_trial_pays_for_nothing_that_it_does_not_use():
    """It is imported by every trial: what notebooks need is loaded when it is asked for."""
    script = "import sys, trialdeck; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("trialdeck")} == {"trialdeck", "trialdeck.trial"}
    assert not loaded & {"urllib.request", "http.client", "ssl", "socket", "subprocess", "difflib", "typing"}


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Experimint'"):
        trialdeck.Experimint  # noqa: B018
    assert set(trialdeck.__all__) <= set(dir(trialdeck))


@pytest.mark.parametrize("python", [sys.executable, *map(str, OLD)])
def test_it_runs_on_this_python_and_on_3_8(python, tmp_path):
    """On 3.8 where there is one; its syntax and its names are checked anyway: tests/repository_rules/test_layers.py."""
    env = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "TRIALDECK_HOME": str(tmp_path)}
    done = subprocess.run([python, "-c", TOUR], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.stderr == (
        "trialdeck: No console is running at http://127.0.0.1:9. Start one with `trialdeck up`.\n"
    )
    assert (done.returncode, done.stdout) == (1, "")


def test_its_wheel_is_built_and_installed_without_a_network(tmp_path):
    """`pip install ./trialdeck`: a package and a command, nothing else; the same bytes each time."""
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--no-cache-dir"]
    done = subprocess.run(
        [*pip, "install", "--no-deps", "--no-build-isolation", "--target", target, ROOT / "trialdeck"],
        env={"PATH": os.environ["PATH"], "PIP_NO_INDEX": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    info = f"trialdeck-{trialdeck.__version__}.dist-info"
    assert {path.name for path in target.iterdir()} == {"bin", "trialdeck", info}
    installed = {
        path.relative_to(target / "trialdeck")
        for path in (target / "trialdeck").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    package = ROOT / "trialdeck"
    assert installed == {path.relative_to(package) for path in package.rglob("*.py")} | {Path("py.typed")}
    output = subprocess.run(
        [sys.executable, target / "bin" / "trialdeck", "--version"],
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
    )
    assert output.stdout == f"trialdeck {trialdeck.__version__}\n", output.stderr

    for name in ("one", "two"):
        build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / name]
        subprocess.run(build, cwd=ROOT / "trialdeck", check=True, capture_output=True)
    first, two = (next((tmp_path / name).iterdir()) for name in ("one", "two"))
    assert first.name == f"trialdeck-{trialdeck.__version__}-py3-none-any.whl"
    assert first.read_bytes() == two.read_bytes()
    assert zipfile.ZipFile(first).testzip() is None


def test_the_client_alone_has_no_console_to_start(tmp_path):
    """Without the console beside it, `up` and the console's other commands say where there could be one."""
    shutil.copytree(ROOT / "trialdeck", tmp_path / "alone" / "trialdeck")
    for words in (["up"], ["up", "--detach"], ["worker", "--queue", "gpu"], ["manage", "migrate"]):
        done = subprocess.run(
            [sys.executable, "-m", "trialdeck", *words],
            cwd=tmp_path / "alone",
            env={"PATH": os.environ["PATH"], "TRIALDECK_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(
            f"trialdeck: No console is installed in {tmp_path}/alone .*Set TRIALDECK_CONSOLE.*\n", done.stderr
        )


REFERENCE = """
connect(port) export_data() get_all_experiments_metadata() get_experiment_metadata(exp_id) get_experiment_profile()
get_job_metrics(trial_job_id=None) get_job_statistics() get_status() get_trial_job(trial_job_id) list_trial_jobs()
resume(experiment_id,port=8080,wait_completion=True,debug=False) run(port=8080,wait_completion=True,debug=False)
start(port=8080,debug=False,run_mode=<RunMode.Background:'background'>) stop() update_max_experiment_duration(value)
update_max_trial_number(value) update_search_space(value) update_trial_concurrency(value)
view(experiment_id,port=8080,non_blocking=False)
"""


@pytest.mark.parametrize("method", REFERENCE.split())
def test_methods_have_the_names_arguments_and_defaults_of_the_reference(method):
    """NNI-E1: a program written for NNI calls them in any way that it could there."""
    name, _, rest = method.rstrip(")").partition("(")
    wanted = [argument for argument in rest.split(",") if argument]
    parameters = inspect.signature(getattr(trialdeck.Experiment, name)).parameters.values()
    plain = [parameter for parameter in parameters if parameter.name != "self"]
    described = [
        parameter.name if "=" not in want else f"{parameter.name}={parameter.default!r}"
        for parameter, want in zip(plain, wanted, strict=False)
    ]
    assert [text.replace(" ", "") for text in described] == wanted
    assert all(
        parameter.default is not parameter.empty for parameter in plain[len(wanted) :]
    )  # ours, and optional
    is_static = isinstance(inspect.getattr_static(trialdeck.Experiment, name), staticmethod)
    assert is_static == (name in ("resume", "view"))
