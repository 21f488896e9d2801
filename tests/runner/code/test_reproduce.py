"""A trial taken away as a script: it is run here, by hand, and does what the trial did."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from experiments.runner.code.reproduce import command_of, is_secret, script
from experiments.runner.code.reproduce_code import Code

TRAIN = """
import json, os, sys
import trialdeck
params = trialdeck.get_next_parameter()
assert params == json.load(open(sys.argv[1]))
trialdeck.report_final_result(params["lr"] * 2)
open(os.path.join(os.environ["TRIALDECK_OUTPUT_DIR"], "made"), "w").write(trialdeck.get_trial_id())
print(json.dumps([sys.argv[2:], os.environ.get("PLAIN"), os.environ.get("API_KEY"), os.getcwd()]))
"""
NASTY = 'it\'s "$HOME" `id` $(id) \\ ünï\nEND_OF_FILE\nnext'


def written(command: str, params: dict, **options) -> str:
    filled = command_of(command, params, trial_id="abc-3", experiment_id="abc", as_arguments=False)
    settings = {
        "environment": {},
        "directory": "",
        "metric": "loss",
        "title": "A name",
        "needs_package": True,
    }
    return script(command=filled, params=params, experiment_id="abc", number=3, **{**settings, **options})


def run(text: str, cwd, *arguments: str) -> subprocess.CompletedProcess:
    """As somebody would who has downloaded it: nothing of Trialdeck in the environment."""
    (cwd / "reproduce.sh").write_text(text)
    env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    command = ["bash", "reproduce.sh", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


def test_it_runs_by_hand_what_the_trial_ran(tmp_path):
    """TD-X10: parameters, environment without secrets, working directory, command; nothing is installed."""
    code = tmp_path / "my code's"
    code.mkdir()
    (code / "train.py").write_text(TRAIN)
    text = written(
        'python3 train.py ${params} --lr ${lr} ${text} "$PLAIN"',
        {"lr": 1e-07, "text": NASTY},
        directory=str(code),
        environment={"PLAIN": NASTY, "API_KEY": "hush-hush"},
    )
    assert "hush-hush" not in text
    done = run(text, tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["--lr", "1e-07", NASTY, NASTY], NASTY, None, str(code)]
    assert "API_KEY is not set" in done.stderr
    folder = tmp_path / "trial-abc-3"
    assert json.loads((folder / "parameters.json").read_text()) == {"lr": 1e-07, "text": NASTY}
    assert json.loads((folder / "metrics.jsonl").read_text())["value"] == 2e-07
    assert (folder / "output" / "made").read_text() == "abc-3"


def test_without_a_working_directory_it_runs_in_its_folder_which_may_be_chosen(tmp_path):
    done = run(written("pwd\necho ${output_dir} [$1]", {}, needs_package=False), tmp_path, "else where")
    folder = tmp_path / "else where"
    assert done.stdout.splitlines() == [str(folder), f"{folder}/output []"]


def test_it_stops_at_the_first_line_that_fails(tmp_path):
    done = run(written("false\necho never", {}), tmp_path)
    assert (done.returncode, done.stdout) == (1, "")


def test_run_again_its_metrics_begin_anew(tmp_path):
    text = written('echo \'{"value": 1}\' >> "$TRIALDECK_METRICS"', {})
    for _ in range(2):
        assert run(text, tmp_path).returncode == 0
    assert (tmp_path / "trial-abc-3" / "metrics.jsonl").read_text() == '{"value": 1}\n'


def test_a_home_is_found_where_the_script_runs(tmp_path):
    """A working directory may begin with ~, as on the worker."""
    (tmp_path / "it is").mkdir()
    text = written("pwd", {}, directory="~/it is")
    (tmp_path / "reproduce.sh").write_text(text)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(
        ["bash", "reproduce.sh"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"{tmp_path}/it is\n"


def test_a_name_cannot_leave_its_comment(tmp_path):
    done = run(written("echo good", {}, title="x\necho bad\r\n`echo bad`"), tmp_path)
    assert done.stdout == "good\n"


def test_parameters_passed_as_arguments_are_in_the_command():
    params = {"lr": 0.5, "name": "a b"}
    message = command_of("python t.py", params, trial_id="a-1", experiment_id="a", as_arguments=True)
    assert message == "python t.py --lr 0.5 --name 'a b'"


def test_a_placeholder_without_a_value_is_a_sentence():
    with pytest.raises(ValueError, match="lr"):
        command_of("python t.py ${lr}", {}, trial_id="a-1", experiment_id="a", as_arguments=False)


@pytest.mark.parametrize(
    "name",
    ["API_KEY", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "password", "DbPassword", "APIKEY", "KEY2", "MY_PASSWD"]
    + ["GOOGLE_CREDENTIALS", "DB_PWD", "GITHUB_PAT", "BASIC_AUTH", "SENTRY_DSN", "githubToken"],
)
def test_a_name_that_looks_like_a_secret_is_one(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["PATH", "OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "AUTHOR", "KEYBOARD"])
def test_other_names_are_none(name):
    assert not is_secret(name, "https://example.org:8080/a@b")


def test_a_password_within_an_address_is_a_secret():
    assert is_secret("STORE", "postgresql://me:hush@db:5432/x")


DIFF = """\
--- a/pkg/train.py
+++ b/pkg/train.py
@@ -1 +1 @@
-print("committed")
+print("changed END_OF_FILE")
"""


def test_it_lays_out_the_commit_the_changes_and_the_packages(tmp_path):
    """CML-S1 to CML-S3: a later commit is not taken; run again, it goes on with what is there."""
    origin = tmp_path / "origin of it"
    (origin / "pkg").mkdir(parents=True)

    def git(*words: str) -> str:
        command = ["git", "-c", "user.name=alice", "-c", "user.email=alice@example.org", *words]
        return subprocess.run(command, cwd=origin, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (origin / "pkg/train.py").write_text('print("committed")\n')
    git("add", ".")
    git("commit", "-qm", "one")
    commit = git("rev-parse", "HEAD")
    (origin / "pkg/train.py").write_text('print("later")\n')
    git("commit", "-qam", "two")
    code = Code(repository=str(origin), version=commit, diff=DIFF, image="torch:2.9")
    text = written("python train.py", {}, directory="pkg", code=code, needs_package=False)
    for _ in range(2):
        done = run(text, tmp_path)
        assert (done.returncode, done.stdout) == (0, "changed END_OF_FILE\n"), done.stderr
        assert "The trial ran in a container of torch:2.9" in done.stderr
    listed = written(
        "true", {}, code=Code(packages_from="list", packages="torch==2.9.1", python="python3.12")
    )
    none = written("true", {}, code=Code(packages_from="none", packages=""))
    assert "python3 -m venv" in none and "pip install" not in none
    assert "python3.12 -m venv" in listed and "\ntorch==2.9.1\n" in listed


def test_it_has_the_configuration_without_secrets(tmp_path):
    """CML-H1, CML-G1: secrets are named where they would be variables, and nowhere told."""
    groups = {
        "Args": {"epochs": {"value": "60"}, "token": {"secret": "sealed:abc"}, "lr": {"value": "9"}},
        "Environment": {"PLAIN": {"value": "yes"}, "HIDDEN": {"secret": "sealed:abc"}},
    }
    params = {"lr": 0.5}
    ids = {"trial_id": "abc-3", "experiment_id": "abc"}
    command = command_of("echo $PLAIN", params, as_arguments=True, groups=groups, **ids)
    script_py = "import sys; print(open('/dev/stdin').read(), sys.argv)"
    assert command == "echo $PLAIN --epochs 60 --lr 0.5"
    code = Code(literal="script.py", diff=script_py)
    text = written(
        f"{command}\npython3 script.py < $TRIALDECK_CONFIGURATION",
        params,
        hyperparameters=groups,
        objects={"m": "x"},
        code=code,
        needs_package=False,
    )
    done = run(text, tmp_path)
    assert "sealed" not in text and "HIDDEN is not set" in done.stderr, done.stderr
    assert done.stdout.startswith("yes --epochs 60 --lr 0.5\n")
    body = json.loads((tmp_path / "trial-abc-3/configuration.json").read_text())
    assert body == {
        "hyperparameters": {"Args": {"epochs": "60", "lr": 0.5}, "Environment": {"PLAIN": "yes"}},
        "objects": {"m": "x"},
    }
