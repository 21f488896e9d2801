"""NNI-T1: the trial half of the client, in processes of its own, as a trial has it."""

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.runner.dialects.native import MetricsReader
from experiments.runner.report import Report

ROOT = Path(__file__).parents[2]


def run(script: str, folder: Path | None = None, **env: str) -> subprocess.CompletedProcess:
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    if folder:
        (folder / "parameters.json").write_text('{"lr": 0.1, "layers": [1, 2], "name": "\\u00e9"}')
        base |= {
            "TRIALDECK_PARAMETERS": str(folder / "parameters.json"),
            "TRIALDECK_METRICS": str(folder / "metrics.jsonl"),
            "TRIALDECK_EXPERIMENT_ID": "7f3k2m9q",
            "TRIALDECK_TRIAL_ID": "7f3k2m9q-3",
            "TRIALDECK_TRIAL_NUMBER": "3",
        }
    script = f"import trialdeck\n{script}"
    return subprocess.run([sys.executable, "-c", script], env={**base, **env}, capture_output=True, text=True)


def reports(folder: Path) -> list[Report]:
    reader = MetricsReader(folder / "metrics.jsonl", "accuracy")
    results = reader.drain()
    assert (reader.faults, reader.dropped) == (0, 0)
    return results


def test_it_knows_its_parameters_and_its_ids(tmp_path):
    """NNI-T1: asked twice, it answers the same; what the script does to its copy stays there."""
    done = run(
        """
first = trialdeck.get_next_parameter()
first["lr"] = 9
print(trialdeck.get_next_parameter(), trialdeck.get_current_parameter(), trialdeck.get_current_parameter("lr"))
print(trialdeck.get_experiment_id(), trialdeck.get_trial_id(), trialdeck.get_sequence_id())
""",
        tmp_path,
        PYTHONIOENCODING="utf-8",
    )
    values = {"lr": 0.1, "layers": [1, 2], "name": "é"}
    assert done.stdout == f"{values} {values} 0.1\n7f3k2m9q 7f3k2m9q-3 2\n", done.stderr


def test_reports_reach_the_worker(tmp_path):
    """NNI-T1"""
    began = round(time.time(), 3)
    done = run(
        """
trialdeck.report_intermediate_result(0.5)
trialdeck.report_intermediate_result({"default": 0.75, "loss": 2})
trialdeck.report_intermediate_result(0.8, step=10)
trialdeck.report_intermediate_result(float("nan"))
trialdeck.report_final_result({"default": 0.9, "loss": 1})
""",
        tmp_path,
    )
    assert (done.stdout, done.stderr) == ("", "")
    points = [report for report in reports(tmp_path) if not report.final]
    assert all(began <= (report.at or 0) <= time.time() for report in points), "with the time of the report"
    assert reports(tmp_path) == [
        Report("accuracy", 0, 0.5),
        Report("accuracy", 1, 0.75),
        Report("loss", 0, 2.0),
        Report("accuracy", 10, 0.8),
        Report("accuracy", 11, None, "NaN"),
        Report("accuracy", 11, 0.9, final=True),
        Report("loss", 0, 1.0, final=True),
    ]


def test_numpy_numbers_are_numbers(tmp_path):
    run(
        """
import numpy
trialdeck.report_intermediate_result(numpy.float32(0.25))
trialdeck.report_intermediate_result(numpy.int64(3))
trialdeck.report_intermediate_result(numpy.array([[0.75]]))
trialdeck.report_final_result(numpy.array(0.5))
""",
        tmp_path,
    )
    assert [report.value for report in reports(tmp_path)] == [0.25, 3.0, 0.75, 0.5]


def test_other_entries_of_a_dict_are_left_out_with_a_line(tmp_path):
    """TD-V11: as in NNI, where only "default" has to be a number. A line names them, once."""
    done = run(
        """
import numpy
for _ in range(2):
    trialdeck.report_final_result({
        "default": numpy.float32(0.5), "note": "best so far", "none": None, "matrix": [[1, 2], [3, 4]],
        "array": numpy.zeros(3), "converged": True, "val": {"f1": 0.25, "by": {"class": numpy.int64(3)}, "t": "x"},
        1: 2,
    })
""",
        tmp_path,
    )
    values = {"accuracy": 0.5, "converged": 1, "val.f1": 0.25, "val.by.class": 3, "1": 2}
    assert {report.name: report.value for report in reports(tmp_path)} == values
    left_out = "note (str), none (NoneType), matrix (list), array (ndarray), val.t (str)"
    assert (done.stdout, done.stderr) == (
        f"trialdeck: not a number, left out of the result: {left_out}\n",
        "",
    )


def test_a_default_that_is_no_number_is_refused(tmp_path):
    """TD-V11: it would be the objective."""
    done = run("trialdeck.report_final_result({'default': 'high', 'f1': 0.5})", tmp_path)
    assert "The metric 'default' must be a number" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "metric",
    ["'0.5'", "None", "True", "[0.5]", "{}", "{'loss': 'low'}", "{(1, 2): 0.5}", "object()", "10**400"],
)
def test_anything_else_is_refused_with_a_sentence(tmp_path, metric):
    done = run(f"trialdeck.report_final_result({metric})", tmp_path)
    assert done.stderr.splitlines()[-1].startswith("trialdeck.errors.BadReport: ")
    assert "must be" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "metrics.jsonl").exists()


def test_the_total_number_of_steps_is_reported(tmp_path):
    """TD-C2: of=20 tells the progress; what is no number of steps is refused."""
    done = run(
        "for _ in range(3): trialdeck.report_intermediate_result({'default': 1, 'loss': 2}, of=20)", tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert [report.progress for report in reports(tmp_path)] == [(n, 20) for n in (1, 1, 2, 2, 3, 3)]
    for total in ("0", "-1", "1.5", "'20'", "True"):
        done = run(f"trialdeck.report_intermediate_result(1, of={total})", tmp_path)
        assert "`of` must be the total number of steps" in done.stderr and done.returncode


def test_threads_and_processes_do_not_tear_each_others_lines(tmp_path):
    run(
        """
import os, threading
def work():
    for number in range(200):
        trialdeck.report_intermediate_result({"default": number, "a long name " * 10: 0.5}, step=number)
children = []
for _ in range(3):
    pid = os.fork()
    if not pid:
        threads = [threading.Thread(target=work) for _ in range(3)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        os._exit(0)
    children.append(pid)
for pid in children: os.waitpid(pid, 0)
""",
        tmp_path,
    )
    assert len(reports(tmp_path)) == 3 * 3 * 200 * 2


def test_outside_a_trial_it_runs_by_hand():
    """NNI-T1: standalone."""
    done = run("""
print(trialdeck.get_next_parameter(), trialdeck.get_experiment_id())
print(trialdeck.get_trial_id(), trialdeck.get_sequence_id())
trialdeck.report_intermediate_result(0.5)
trialdeck.report_intermediate_result({"loss": 2}, step=4)
trialdeck.report_final_result(1)
""")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "{} STANDALONE",
        "STANDALONE 0",
        "trialdeck: default intermediate 0.5",
        "trialdeck: loss step 4 2.0",
        "trialdeck: default final 1.0",
    ]


def test_parameters_that_cannot_be_read_are_named(tmp_path):
    done = run("trialdeck.get_next_parameter()", TRIALDECK_PARAMETERS=str(tmp_path / "gone.json"))
    assert "NoFile: Cannot read the parameters of the trial from" in done.stderr


def test_reporting_after_the_end_is_one_error_of_the_family(tmp_path):
    """The folder is gone: a process that was left over, or a notebook that kept the variables."""
    done = run(
        """
import os
os.environ["TRIALDECK_METRICS"] = os.environ["TRIALDECK_METRICS"] + "/gone/metrics.jsonl"
try:
    trialdeck.report_final_result(1)
except trialdeck.Error as error:
    print(error.status, isinstance(error, RuntimeError), error)
""",
        tmp_path,
    )
    assert done.stdout.startswith("None True Cannot write the metric to "), done.stderr
    assert "Has the trial ended" in done.stdout


def test_it_needs_the_standard_library_only_and_little_of_it():
    """It is imported by every trial: without site-packages, and nothing that takes long to import."""
    script = "import sys, trialdeck; print(sorted(name for name in sys.modules if '.' not in name))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], env={"PYTHONPATH": str(ROOT)}, capture_output=True
    )
    loaded = set(ast.literal_eval(done.stdout.decode()))
    assert "trialdeck" in loaded
    assert not loaded & {
        "typing",
        "asyncio",
        "logging",
        "urllib",
        "http",
        "subprocess",
        "dataclasses",
        "ssl",
        "pathlib",
        "argparse",
        "experiments",
    }


@pytest.mark.parametrize(
    "path", sorted((ROOT / "trialdeck").glob("trial.py")) + [ROOT / "trialdeck" / "__init__.py"]
)
def test_it_is_written_for_python_3_8(path):
    ast.parse(path.read_text(), feature_version=(3, 8))


def test_it_is_typed_and_has_a_version():
    import trialdeck

    assert trialdeck.__version__
    assert (ROOT / "trialdeck" / "py.typed").is_file()
    assert all(hasattr(trialdeck, name) for name in trialdeck.__all__)


def test_a_line_written_by_hand_counts_as_well(tmp_path):
    """Any language can: it appends a line of JSON."""
    (tmp_path / "metrics.jsonl").write_text(
        json.dumps({"name": "accuracy", "final": True, "value": 1}) + "\n"
    )
    assert reports(tmp_path) == [Report("accuracy", 0, 1.0, final=True)]


def test_it_reads_its_configuration(tmp_path):
    """CML-H1, CML-G1: outside a trial there is none."""
    script = """
print(trialdeck.get_hyperparameters())
try:
    print(trialdeck.get_configuration("model.yaml"))
except KeyError as error:
    print("none", error)
"""
    assert run(script).stdout == "{}\nnone 'model.yaml'\n"
    path = tmp_path / "configuration.json"
    path.write_text('{"hyperparameters": {"Args": {"lr": 0.1}}, "objects": {"model.yaml": "depth: 3"}}')
    variables = {"TRIALDECK_CONFIGURATION": str(path)}
    assert run(script, **variables).stdout == "{'Args': {'lr': 0.1}}\ndepth: 3\n"
    path.write_text("[")
    assert "Cannot read the configuration of the trial" in run(script, **variables).stderr
