"""ClearML's offline folder: what is told to its package, and what is read of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.runner.dialects import clearml
from experiments.runner.dialects.clearml import MAX_DECLARED, MAX_LINE, SINGLE, ScalarReader
from experiments.runner.dialects.run_context import RunContext
from experiments.runner.report import MAX_POINTS, MAX_SERIES, Report
from experiments.runner.trial_folder import TrialFolder


def scalar(metric: object, variant: object, value: object, step: object = 0) -> dict:
    return {
        "timestamp": 1795271348671,
        "type": "training_stats_scalar",
        "task": "7f3k2m9q-8",
        "iter": step,
        "metric": metric,
        "variant": variant,
        "value": value,
        "method": "get",
    }


def line(*events: object) -> bytes:
    return json.dumps(list(events)).encode() + b"\n"


def read(*lines: bytes) -> tuple[list[Report], ScalarReader]:
    reader = ScalarReader("unused", "accuracy")
    return reader.feed(b"".join(lines)) + reader.end(), reader


def run_context_of(tmp_path: Path, **more: object) -> RunContext:
    folder = TrialFolder(tmp_path, "7f3k2m9q", 3)
    folder.create()
    options = {"params": {}, "objective": "loss", "cwd": tmp_path, **more}
    return RunContext(folder=folder, experiment_id="7f3k2m9q", number=3, **options)


def task_of(run_context: RunContext) -> Path:
    return run_context.folder.path / "clearml" / "offline" / "7f3k2m9q-3" / "task.json"


def test_a_scalar_has_the_time_of_its_event():
    """TD-C5: ClearML writes milliseconds."""
    reports, _ = read(
        line(scalar("loss", "train", 0.5), {**scalar("loss", "train", 0.5, 1), "timestamp": "x"})
    )
    assert [report.at for report in reports] == [1795271348.671, None]


def test_scalars_are_points_and_their_last_values_are_results() -> None:
    """CML-T1: title and series make the name; what is no scalar, and what it measures of the machine, is left out."""
    reports, reader = read(
        line(
            scalar("loss", "train", 0.5), scalar("accuracy", "accuracy", 0.1), {"type": "plot", "metric": "p"}
        ),
        line(scalar("loss", "train", 0.25, 1), scalar(":monitor:machine", "cpu_usage", 3.5, 30)),
        line(scalar("loss", "train", float("nan"), 2), scalar("Summary", "size", 7, SINGLE)),
        line(scalar("accuracy", "accuracy", 0.3, 4))[:-1],
    )
    assert reports == [
        Report("loss/train", 0, 0.5),
        Report("accuracy", 0, 0.1),
        Report("loss/train", 1, 0.25),
        Report("loss/train", 2, None, "NaN"),
        Report("size", 0, 7.0, final=True),
        Report("accuracy", 4, 0.3),
    ]
    assert reader.implied() == [
        Report("loss/train", 2, None, "NaN", final=True),
        Report("accuracy", 4, 0.3, final=True),
    ]
    assert (reader.notes(), reader.dropped) == ([], 0)


GOOD = line(scalar("a", "a", 1))


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"junk\n", "Line 2 of ClearML's metrics file is not JSON."),
        (b"\xff\xfe\n", "is not JSON"),
        (b"[" * 5000 + b"\n", "is not JSON"),
        (b"[" + b"9" * 5000 + b"]\n", "is not JSON"),
        (b"{}\n", "is not a list of events"),
        (b"[1]\n", "is not a list of events"),
        (line(scalar("", "", 1)), "an invalid title or series"),
        (line(scalar(None, None, 1)), "an invalid title or series"),
        (line(scalar(["a"], "b", 1)), "an invalid title or series"),
        (line(scalar("a", 7, 1)), "an invalid title or series"),
        (line(scalar("a" * 150, "b" * 150, 1)), "an invalid title or series"),
        (line(scalar("a\nb", "c", 1)), "an invalid title or series"),
    ],
)
def test_a_bad_line_is_counted_and_harms_nothing_else(bad: bytes, why: str) -> None:
    """CML-T1: the lines around it are read."""
    reports, reader = read(GOOD, bad, line(scalar("a", "a", 2, 1)))
    assert reports == [Report("a", 0, 1.0), Report("a", 1, 2.0)]
    assert reader.faults == 1
    assert why in reader.notes()[0]


pieces = st.one_of(
    st.builds(
        lambda *event: line(scalar(*event)),
        st.sampled_from(["loss", "", None, ":monitor:gpu"]),
        st.sampled_from(["loss", "train", "é", 3]),
        st.one_of(st.floats(), st.integers(), st.none(), st.text(max_size=3)),
        st.sampled_from([0, 1, SINGLE, None, 10**20, "x"]),
    ),
    st.binary(max_size=30),
    st.sampled_from([b"[]\n", b"\n", GOOD[:50], GOOD[50:]]),
)


@given(parts=st.lists(pieces, max_size=12), cuts=st.lists(st.integers(0, 3000), max_size=12))
def test_any_chunking_gives_the_same_reports(parts: list[bytes], cuts: list[int]) -> None:
    """CML-T1: lines cut anywhere, junk between them."""
    stream = b"".join(parts)
    expected, whole = read(stream)
    reader, got = ScalarReader("unused", "accuracy"), []
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    for begin, end in zip(places, places[1:], strict=False):
        got += reader.feed(stream[begin:end])
    assert got + reader.end() == expected
    assert (reader.notes(), reader.implied()) == (whole.notes(), whole.implied())


def test_hostile_files_are_bounded() -> None:
    """CML-T1: series and lines are bounded; a last value counts although its point was one too many."""
    reader = ScalarReader("unused", "a")
    many = line(*(scalar(f"m{number}", "x", 1) for number in range(MAX_SERIES + 50)))
    reports = reader.feed(many) + reader.feed(b"[" + b" " * (MAX_LINE + 10)) + reader.feed(b"]\n")
    assert (len(reports), reader.dropped, reader.faults) == (MAX_SERIES, 50, 1)
    assert len(reader.implied()) == MAX_SERIES
    assert "Line 2 of ClearML's metrics file is longer than 16 MiB." in reader.notes()[0]
    reader._counts["m7/x"] = MAX_POINTS
    assert reader.feed(line(scalar("m7", "x", 5, 9))) == []
    assert Report("m7/x", 9, 5.0, final=True) in reader.implied()


def test_values_go_to_the_groups_where_the_package_looks(tmp_path: Path) -> None:
    """CML-T1 CML-H1: a name with a group goes there, one without to each where it may be looked for; the trial's
    values come before the experiment's hyperparameters."""
    run_context = run_context_of(
        tmp_path,
        params={"lr": 0.1, "Args/n": 64.0, "General/deep/x": None, "Own/words": ["a", "é"], "on": True},
        hyperparameters={
            "Args": {"lr": {"value": "9", "type": "float"}, "name": {"value": "$ü/%", "description": "d"}},
            "Hidden": {"key": {"secret": "gAAAA"}},
        },
        objects={"net": "depth = 3"},
    )
    env = clearml.prepare(run_context)
    task = json.loads(task_of(run_context).read_text())
    values = {
        group: {name: traits["value"] for name, traits in parameters.items()}
        for group, parameters in task["hyperparams"].items()
    }
    assert values == {
        "Args": {"lr": "0.1", "name": "$ü/%", "n": "64", "on": "True"},
        "General": {"lr": "0.1", "deep/x": "", "on": "True"},
        "Hydra": {"lr": "0.1", "on": "True"},
        "Own": {"words": '["a", "é"]'},
    }
    assert task["hyperparams"]["Args"]["lr"]["type"] == "float"
    assert task["configuration"]["net"]["value"] == "depth = 3"
    assert env["CLEARML_TASK_ID"] == task["id"] == "7f3k2m9q-3"
    assert Path(env["CLEARML_CACHE_DIR"], "offline", task["id"], "task.json") == task_of(run_context)


def test_an_experiment_that_wants_a_server_is_left_alone(tmp_path: Path) -> None:
    """CML-T1: it says so in its Environment. Else the person's own settings are taken in."""
    run_context = run_context_of(tmp_path, chosen={"CLEARML_OFFLINE_MODE": "0"})
    assert clearml.prepare(run_context) == {}
    assert not (run_context.folder.path / "clearml").exists()
    own = tmp_path / "clearml.conf"
    own.write_text("sdk {}")
    for environment in ({"HOME": str(tmp_path)}, {"CLEARML_CONFIG_FILE": str(own), "HOME": "/no"}):
        env = clearml.prepare(run_context_of(tmp_path, environment=environment))
        config = Path(env["CLEARML_CONFIG_FILE"]).read_text()
        assert config.startswith(f'include "{own}"\nsdk {{')


def test_only_clearml_is_mended_and_nobodys_site_is_hidden(tmp_path: Path) -> None:
    """CML-T1: a sitecustomize of somebody else runs as well; a package that is made otherwise is left as it is, and
    said so; without it, nothing happens."""
    theirs = tmp_path / "theirs"
    (theirs / "clearml").mkdir(parents=True)
    (theirs / "sitecustomize.py").write_text("print('theirs', __name__)")
    (theirs / "clearml" / "__init__.py").write_text("__version__ = '9.0'\nprint('imported')")
    env = clearml.prepare(run_context_of(tmp_path, environment={"PYTHONPATH": "/nowhere"})) | {
        "PATH": os.environ["PATH"]
    }
    assert env["PYTHONPATH"].startswith("/nowhere:")
    env["PYTHONPATH"] += f":{theirs}"

    def run(script: str, **more: str) -> tuple[str, str]:
        done = subprocess.run([sys.executable, "-c", script], env=env | more, capture_output=True, text=True)
        return done.stdout, done.stderr

    assert run("print(1)") == ("theirs sitecustomize\n1\n", "")
    out, output = run("import clearml\nprint(clearml.__version__)")
    assert out == "theirs sitecustomize\nimported\n9.0\n"
    assert "trialdeck: could not patch clearml 9.0 (numbers): ModuleNotFound" in output
    assert run("import clearml", CLEARML_OFFLINE_MODE="0") == ("theirs sitecustomize\nimported\n", "")


def test_only_a_trial_in_a_container_has_a_copy_of_what_mends_the_package(tmp_path: Path) -> None:
    """Every other one reads it where Trialdeck is installed: a trial that prints nothing leaves few files behind."""
    shared, own = run_context_of(tmp_path / "a"), run_context_of(tmp_path / "b", is_contained=True)
    assert clearml.prepare(shared)["PYTHONPATH"] == str(clearml.SITE)
    copy = Path(clearml.prepare(own)["PYTHONPATH"])
    assert copy.is_relative_to(own.folder.root)
    assert sorted(path.name for path in copy.iterdir()) == sorted(
        path.name for path in clearml.SITE.glob("*.py")
    )
    assert not list(shared.folder.root.rglob("sitecustomize.py"))


def test_the_folder_is_made_when_the_package_is_imported(tmp_path: Path) -> None:
    """CML-T1 TD-S3: of a file, as it is made otherwise; by several processes of one trial at once, each finds it."""
    facts = {"params": {"lr": 0.1}, "objects": {"net": "depth: 3"}}
    eager, lazy = (
        run_context_of(tmp_path / "a", **facts),
        run_context_of(tmp_path / "b", has_clearml_folder=False, **facts),
    )
    clearml.prepare(eager)
    env = clearml.prepare(lazy) | {"PATH": os.environ["PATH"]}
    (tmp_path / "clearml").mkdir()
    (tmp_path / "clearml" / "__init__.py").write_text(
        "import os; assert os.path.exists(os.environ['CLEARML_CONFIG_FILE'])"
    )
    env["PYTHONPATH"] += f":{tmp_path}"

    def tree(context: RunContext) -> dict[str, str | None]:
        folder = clearml.reports_folder(context.folder)
        return {
            path.relative_to(folder).as_posix(): path.read_text() if path.is_file() else None
            for path in folder.rglob("*")
        }

    subprocess.run([sys.executable, "-c", "import json"], env=env, check=True)
    assert clearml.reports_folder(lazy.folder).is_file()
    started = [
        subprocess.Popen([sys.executable, "-c", "import clearml"], env=env, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    errors = b"".join(each.communicate()[1] for each in started).decode()
    assert "Assertion" not in errors and "FileNotFound" not in errors
    assert tree(lazy) == tree(eager)
    assert sorted(path.name for path in lazy.folder.path.iterdir()) == ["clearml", "output"]


def test_what_is_left_of_secrets_is_removed_with_and_without_the_folder(tmp_path: Path) -> None:
    """TD-Z4"""
    for name, has_folder in (("a", True), ("b", False)):
        context = run_context_of(tmp_path / name, has_clearml_folder=has_folder, params={"key": "s3cret"})
        clearml.prepare(context)
        clearml.remove_task(context.folder, context.trial_id)
        assert not [
            path for path in (tmp_path / name).rglob("*") if path.is_file() and "s3cret" in path.read_text()
        ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ("adam", "adam"),
        ("db/mysql-8.0", "db/mysql-8.0"),
        ("", "''"),
        ("a b", "'a b'"),
        ("it's", r"'it\'s'"),
        ("\\'", r"'\\\''"),
        ("a \\", r"'a \\'"),
        (64.0, "64"),
        ([1, "a,b"], '[1, "a,b"]'),
    ],
)
def test_hydra_reads_a_text_within_quotes(value: object, text: str, tmp_path: Path) -> None:
    """CML-T1: nothing in it is grammar; the other groups have it as it is."""
    run_context = run_context_of(tmp_path, params={"Hydra/name": value, "Args/name": value})
    clearml.prepare(run_context)
    groups = json.loads(task_of(run_context).read_text())["hyperparams"]
    assert groups["Hydra"]["name"]["value"] == text
    assert groups["Args"]["name"]["value"] == clearml.text_of(value)


def test_what_a_script_declares_is_learnt(tmp_path: Path) -> None:
    """CML-T1: what nobody gave it; only what can stand in a search space, and not what is hydra's or the user's."""
    run_context = run_context_of(tmp_path, params={"lr": 0.1})
    clearml.prepare(run_context)
    assert clearml.declared(run_context) == {}
    task = json.loads(task_of(run_context).read_text())
    task["hyperparams"]["Args"] |= {
        "epochs": {"value": "3", "type": "int", "description": "None"},
        "opt": {"value": "x" * 999 + "\0", "type": "str", "description": "which\x1b"},
        "no name": {"value": "1"},
        "x" * 70: {"value": "1"},
    }
    task["hyperparams"]["properties"] = {"a": {"value": "b"}}
    task_of(run_context).write_text(json.dumps(task))
    assert clearml.declared(run_context) == {
        "Args": {
            "epochs": {"value": "3", "type": "int"},
            "opt": {"value": "x" * 200, "type": "str", "description": "which"},
        }
    }
    task["configuration"]["OmegaConf"] = {"value": "lr: 1"}
    task_of(run_context).write_text(json.dumps(task))
    assert clearml.declared(run_context) == {}
    (run_context.folder.path / "clearml" / "declared.json").write_text(
        json.dumps({"Hydra": {"net.n": {"value": "1"}, "lr": {"value": "9"}, "a b": {}}, "Args": 7})
    )
    assert clearml.declared(run_context) == {"Hydra": {"net.n": {"value": "1"}}}
    task["hyperparams"] = {"Own": {f"n{number}": {"value": "1"} for number in range(MAX_DECLARED + 9)}}
    task_of(run_context).write_text(json.dumps(task))
    assert len(clearml.declared(run_context)["Own"]) == MAX_DECLARED


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", '"a"', "{}", '{"hyperparams": 1}', '{"hyperparams": {"Args": 1}}', "[" * 9999,
     '{"hyperparams": {"Args": {"a": 1}}}', '{"configuration": 1, "hyperparams": {}}', "\ud800"],
)  # fmt: skip
def test_a_task_that_was_spoilt_teaches_nothing(text: str, tmp_path: Path) -> None:
    run_context = run_context_of(tmp_path)
    clearml.prepare(run_context)
    task_of(run_context).write_bytes(text.encode("utf-8", "surrogatepass"))
    assert clearml.declared(run_context) == {}
    task_of(run_context).unlink()
    task_of(run_context).symlink_to("/dev/zero")
    assert clearml.declared(run_context) == {}
    task_of(run_context).unlink()
    os.mkfifo(task_of(run_context))
    assert clearml.declared(run_context) == {}


def test_what_was_uploaded_goes_to_the_output_folder(tmp_path: Path) -> None:
    """CML-T1: artifacts by their name; nothing leaves it."""
    run_context = run_context_of(tmp_path)
    clearml.prepare(run_context)
    session, output = task_of(run_context).parent, run_context.folder.output
    data = "data/unknown/t.7"
    for name in (
        f"{data}/artifacts/facts/facts.json",
        f"{data}/artifacts/mine/mine",
        f"{data}/artifacts/stolen/x",
        f"{data}/metrics/title/series/plot.png",
        "models/net.pt",
    ):
        (session / name).parent.mkdir(parents=True, exist_ok=True)
        (session / name).write_text(name)
    (session / data / "artifacts" / "link").symlink_to("/etc/passwd")
    (output / "artifacts" / "mine").mkdir(parents=True)
    (output / "artifacts" / "mine" / "mine").write_text("my own")
    (output / "artifacts" / "stolen").symlink_to(tmp_path)
    for _ in range(2):
        clearml.move_uploads(run_context)
        clearml.publisher_of(run_context).publish()
    left = {str(path.relative_to(output)): path.read_text() for path in output.rglob("*") if path.is_file()}
    assert left == {
        "artifacts/facts/facts.json": f"{data}/artifacts/facts/facts.json",
        "artifacts/mine/mine": "my own",
        "debug_samples/title/series/plot.png": f"{data}/metrics/title/series/plot.png",
        "models/net.pt": "models/net.pt",
    }
    assert not (tmp_path / "x").exists()
