import json
import os

import pytest

from experiments.runner.output.json_metric import (
    NoMetric,
    Version,
    check_path,
    expand_path,
    read_json_metric,
)
from experiments.runner.report import Report

CONTENT = {
    "acc": 0.9,
    "val": {"acc": 0.8, "a.b": 1},
    "test": {"f1.macro": 0.7, "f1": {"micro": 0.6}},
    "top.k": 3,
    "bad": float("nan"),
    "folds": [{"acc": 0.1}, {"acc": 0.2}],
    "curve": [0.5, 0.6],
    "text": "0.7",
    "word": "high",
    "yes": True,
    "none": None,
    "empty": [],
}


def write(path, *lines):
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_the_encodings_of_json_are_read(tmp_path, encoding):
    """TD-V4: as json.loads reads them; PowerShell redirects into UTF-16."""
    file = tmp_path / "result.json"
    file.write_text('{"acc": 0.5, "name": "é"}', encoding=encoding)
    assert read_json_metric(file, "acc") == Report("acc", 0, 0.5, final=True)


def test_a_number_with_thousands_of_digits_is_too_large(tmp_path):
    """TD-V4"""
    file = tmp_path / "result.json"
    file.write_text('{"acc": -' + "9" * 5000 + "}")
    assert read_json_metric(file, "acc") == Report("acc", 0, None, "-Infinity", final=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acc", 0.9),
        ("val.acc", 0.8),
        ("val.a.b", 1),
        ("top.k", 3),
        ("test.f1.macro", 0.7),
        ("test.f1.micro", 0.6),
        ("folds.0.acc", 0.1),
        ("folds.-1.acc", 0.2),
        ("folds[1].acc", 0.2),
        ("curve[-1]", 0.6),
        ("test['f1.macro']", 0.7),
        ("text", 0.7),
    ],
)
def test_a_json_file_gives_the_metric_by_key_or_path(tmp_path, name, value):
    """TD-F3, TD-V4"""
    assert read_json_metric(write(tmp_path / "result.json", CONTENT), name) == Report(
        name, 0, value, final=True
    )


@pytest.mark.parametrize(
    ("name", "message", "is_bad"),
    [
        (
            "val.nothing",
            "result.json has no key val.nothing; the file has acc, val, test, top.k, bad, folds, ….",
            False,
        ),
        ("folds.7.acc", "has no key folds.7.acc", False),
        ("word", "word in result.json is the text 'high', not a number.", True),
        ("yes", "yes in result.json is true, not a number.", True),
        ("none", "none in result.json is null, not a number.", True),
        (
            "curve",
            "curve in result.json is a list of 2, not a number. Name one of its items: curve.-1 is the last.",
            True,
        ),
        ("empty", "empty in result.json is a list of 0, not a number.", True),
        (
            "val",
            "val in result.json is an object, not a number. Name one of its values: val.acc, val.a.b.",
            True,
        ),
    ],
)
def test_what_is_not_a_number_is_refused_with_the_reason(tmp_path, name, message, is_bad):
    """TD-V4"""
    with pytest.raises(NoMetric) as error:
        read_json_metric(write(tmp_path / "result.json", CONTENT), name)
    assert message in str(error.value) and error.value.is_bad is is_bad


def test_nan_is_kept_as_such(tmp_path):
    """TD-V3"""
    assert read_json_metric(write(tmp_path / "r.json", CONTENT), "bad") == Report(
        "bad", 0, None, "NaN", final=True
    )


def test_the_last_json_line_with_the_metric_counts(tmp_path):
    """TD-V4"""
    lines = write(tmp_path / "log.jsonl", {"loss": 3}, {"eval": {"acc": 0.5}}, {"loss": 1}, {"loss": 2})
    assert read_json_metric(lines, "loss").value == 2
    assert read_json_metric(lines, "eval.acc").value == 0.5
    assert read_json_metric(lines, "0.loss").value == 3
    with pytest.raises(NoMetric, match="has no key f1; its last line has loss"):
        read_json_metric(lines, "f1")
    lines.write_text('{"loss": 3}\n{"lo')
    with pytest.raises(NoMetric, match="Line 2 of log.jsonl is not JSON"):
        read_json_metric(lines, "loss")


def test_a_json_file_that_cannot_be_read_says_why(tmp_path):
    path = tmp_path / "result.json"

    def why(path):
        with pytest.raises(NoMetric) as error:
            read_json_metric(path, "acc")
        return str(error.value)

    assert why(path) == "The trial did not write the file result.json."
    path.write_text("{")
    assert why(path).startswith("result.json is not JSON: ")
    path.write_bytes(b"\xff\xff")
    assert why(path).startswith("result.json is not JSON: ")
    path.write_text(" \n")
    assert why(path) == "result.json is empty."
    assert why(tmp_path).endswith("must be a regular file of at most 16 MiB.")
    os.mkfifo(tmp_path / "pipe")
    assert why(tmp_path / "pipe").endswith("must be a regular file of at most 16 MiB.")


def test_a_file_is_written_when_its_content_changed(tmp_path):
    """TD-V4: not when only its mode or its links changed."""
    path = write(tmp_path / "result.json", CONTENT)
    before = Version.of(path)
    path.chmod(0o600)
    assert not Version.of(path).is_written_since(before)
    os.utime(path, ns=(1, before.modified_ns + 1))
    assert Version.of(path).is_written_since(before)
    assert Version.of(tmp_path / "none") is None and Version.of(path).is_written_since(None)


def test_placeholders_and_variables_of_the_path():
    """TD-V4"""
    names, env = (
        {"output_dir": "/t/output", "lr": 0.1},
        {"HOME": "/home/me", "TRIALDECK_OUTPUT_DIR": "/t/output"},
    )
    assert expand_path("${output_dir}/r.json", names, env) == "/t/output/r.json"
    assert expand_path("$TRIALDECK_OUTPUT_DIR/${lr}.json", names, env) == "/t/output/0.1.json"
    with pytest.raises(NoMetric, match=r"\$NOWHERE"):
        expand_path("$NOWHERE/r.json", names, env)
    assert check_path("${output_dir}/$HOME/${HOME}/r.json", set(names)) is None
    assert "${outdir} is not a placeholder" in check_path("${outdir}/r.json", set(names))
