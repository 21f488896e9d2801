import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.runner.metric_pattern import PatternReader, check, read_json_metric
from experiments.runner.report import Report


def values(pattern: str, output: bytes | str) -> list[float | None]:
    reader = PatternReader(pattern, "acc")
    reports = reader.feed(output.encode() if isinstance(output, str) else output) + reader.drain()
    return [report.value for report in reports if not report.final]


@pytest.mark.parametrize(
    "pattern", [r"acc: ([\d.]+)", r"(?P<value>\d+)/(\d+)", r"(?:loss|acc)=(\S+)", r"(?i)ACC (.*)"]
)
def test_a_pattern_with_one_group_or_a_named_one_is_good(pattern):
    """TD-F3"""
    assert check(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("", "Enter a regular expression"),
        ("acc: [0-9]+", "Add a group"),
        (r"(\w+): (\d+)", "several groups"),
        (r"(?=acc)(\d+)", "lookaround"),
        (r"(?<!val_)acc: (\d+)", "lookaround"),
        (r"(a)\1", "backreferences"),
        (r"(?>a+)(b)", "atomic groups"),
        ("acc: (", "Invalid regular expression: missing"),
        (r"(\d{1,9999})", "Invalid regular expression"),
    ],
)
def test_a_bad_pattern_is_explained(pattern, sentence, capfd):
    """TD-F3"""
    assert sentence in check(pattern)
    with pytest.raises(ValueError, match=sentence):
        PatternReader(pattern, "acc")
    assert capfd.readouterr().err == ""  # it belongs on the page, not in the worker's log


def test_the_last_match_is_the_final_result():
    """TD-F3: standard output by regular expression, last match."""
    reader = PatternReader(r"acc: ([\d.]+)", "acc")
    assert reader.feed(b"epoch 1 acc: 0.5\nepo") == [Report("acc", 0, 0.5)]
    assert reader.feed(b"ch 2 acc: 0.75 acc: 0.8\nacc: 0.9") == [
        Report("acc", 1, 0.75),
        Report("acc", 2, 0.8),
    ]
    assert reader.drain() == [Report("acc", 3, 0.9), Report("acc", 3, 0.9, final=True)]


def test_no_match_no_result():
    reader = PatternReader(r"acc: ([\d.]+)", "acc")
    assert reader.feed(b"nothing here\n") == []
    assert reader.drain() == []


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ("acc=1e-3\nacc=-0.5\nacc=+2", [0.001, -0.5, 2]),
        ("acc=nan\nacc=inf\nacc=bad", [None, None, None]),
        ("1% acc=0.1\r2% acc=0.2\r\n", [0.1, 0.2]),
        ("\x1b[32macc=\x1b[1m0.5\x1b[0m\n", [0.5]),
        (b"\xff\xfe acc=0.5 \x00\n", [0.5]),
        ("acc=\n", []),
    ],
)
def test_it_reads_what_people_print(output, found):
    assert values(r"acc=(\S*)", output) == found


def test_an_exploding_pattern_is_harmless():
    """(a+)+$ takes for ever with a backtracking engine: 2 to the power of the line's length."""
    assert values(r"((?:a+)+)$", "a" * 60_000 + "b\n") == []


@given(
    lines=st.lists(
        st.sampled_from(["acc: 0.5", "acc: 1", "noise", "", "x" * 70_000 + "acc: 2", "é\r"]), max_size=8
    ),
    cuts=st.lists(st.integers(0, 200_000), max_size=8),
)
def test_any_chunking_gives_the_same_reports(lines, cuts):
    stream = "\n".join(lines).encode()
    whole, parts = PatternReader(r"acc: (\S+)", "acc"), PatternReader(r"acc: (\S+)", "acc")
    expected = whole.feed(stream) + whole.drain()
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    got = [
        report
        for begin, end in zip(places, places[1:], strict=False)
        for report in parts.feed(stream[begin:end])
    ]
    assert got + parts.drain() == expected


def test_a_json_file_gives_the_metric_by_key_or_path(tmp_path):
    """TD-F3"""
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"acc": 0.9, "val": {"acc": 0.8, "a.b": 1}, "top.k": 3, "bad": float("nan")}))
    assert read_json_metric(path, "acc") == Report("acc", 0, 0.9, final=True)
    assert read_json_metric(path, "val.acc") == Report("val.acc", 0, 0.8, final=True)
    assert read_json_metric(path, "top.k") == Report("top.k", 0, 3.0, final=True)
    assert read_json_metric(path, "bad") == Report("bad", 0, None, "NaN", final=True)
    assert read_json_metric(path, "val.nothing") == "result.json has no key val.nothing."


def test_a_json_file_that_cannot_be_read_says_why(tmp_path):
    path = tmp_path / "result.json"
    assert read_json_metric(path, "acc") == "The trial did not write the file result.json."
    path.write_text("{")
    assert read_json_metric(path, "acc").startswith("result.json is not JSON: ")
    path.write_bytes(b"\xff\xfe")
    assert read_json_metric(path, "acc").startswith("result.json is not JSON: ")
    assert read_json_metric(tmp_path, "acc").endswith("is not a file of at most 16 MiB.")
