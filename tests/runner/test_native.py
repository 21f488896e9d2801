import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.runner.dialects.native import MAX_LINE, MetricsReader
from experiments.runner.report import MAX_NAME, MAX_POINTS, MAX_SERIES, Report


def read(tmp_path, *lines: object) -> tuple[list[Report], MetricsReader]:
    path = tmp_path / "metrics.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(text + "\n" for text in texts))
    reader = MetricsReader(path, "accuracy")
    return reader.drain(), reader


def test_a_point_has_the_time_at_which_it_was_reported(tmp_path):
    """TD-C5: seconds since 1970; anything else is no time, and the point counts all the same."""
    moments = [1764460800.125, 1764460800, None, "2026-01-01", True, -1, float("nan"), 1e300]
    reports, reader = read(tmp_path, *({"value": 1, "time": moment} for moment in moments), {"value": 1})
    assert [report.at for report in reports] == [1764460800.125, 1764460800.0, *[None] * 7]
    assert reader.faults == 0


def test_points_and_finals_come_in_order(tmp_path):
    reports, reader = read(
        tmp_path,
        {"name": "default", "step": 0, "value": 0.5},
        {"name": "loss", "step": 10, "value": 2},
        {"name": "loss", "value": 1.5},
        {"name": "accuracy", "value": 0.6},
        {"value": 0.7},
        {"name": "loss", "final": True, "value": 1.25},
        {"name": "default", "final": True, "value": 0.75},
    )
    assert reports == [
        Report("accuracy", 0, 0.5),
        Report("loss", 10, 2.0),
        Report("loss", 11, 1.5),
        Report("accuracy", 1, 0.6),
        Report("accuracy", 2, 0.7),
        Report("loss", 11, 1.25, final=True),
        Report("accuracy", 2, 0.75, final=True),
    ]
    assert (reader.faults, reader.dropped) == (0, 0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "-Infinity"),
        ("1e999", "Infinity"),
        ("null", "null"),
        ("true", "true"),
        ('"0.5"', "0.5"),
        ('"diverged\\u0000\\n"', "diverged"),
        ("[1, 2]", "[1, 2]"),
        ('{"a": 1}', '{"a": 1}'),
        ("9" * 400, "an integer too large for a float"),
        (json.dumps("x" * 1000), "x" * 200),
    ],
)
def test_what_is_not_a_finite_number_is_kept_as_text(tmp_path, value, text):
    """PAI-S1: it makes the trial fail as bad_metric, and the page says what was reported."""
    reports, _ = read(tmp_path, f'{{"name": "default", "final": true, "value": {value}}}')
    assert reports == [Report("accuracy", 0, None, text, final=True)]


@pytest.mark.parametrize(
    ("points", "progress"),
    [
        ([{"of": 20}, {"of": 20}], (2, 20)),
        ([{"step": 0, "of": 20}, {"step": 1, "of": 20}], (2, 20)),
        ([{"step": 1, "of": 20}, {"step": 2, "of": 20}], (2, 20)),
        ([{"step": 5, "of": 60}, {"step": 60, "of": 60}], (60, 60)),
        ([{"step": 500, "of": 60}], (60, 60)),
        ([{"of": 0}], None),
        ([{"of": -5}], None),
        ([{"of": "many"}], None),
        ([{"of": True}], None),
        ([{"of": 1e300}], None),
        ([{}], None),
    ],
)
def test_a_point_tells_how_far_the_trial_is(tmp_path, points, progress):
    """TD-C2: steps are numbered from 0, or from 1 where the trial does so."""
    reports, reader = read(tmp_path, *({"value": 0.5, **point} for point in points))
    assert reports[-1].progress == progress and reader.faults == 0


@pytest.mark.parametrize("step", [True, "3", None, 2**60, float("nan"), [1]])
def test_a_step_that_is_none_counts_as_left_out(tmp_path, step):
    reports, _ = read(
        tmp_path, {"step": 7, "value": 1}, {"step": step, "value": 2}, {"step": 9.0, "value": 3}
    )
    assert [report.step for report in reports] == [7, 8, 9]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("not json", "is not JSON: 'not json'"),
        ('{"name": "loss", "value": ', "is not JSON"),
        ("[1, 2]", 'has no "value"'),
        ('{"name": "loss"}', 'has no "value"'),
        ('{"name": 3, "value": 1}', 'has no valid "name"'),
        ('{"name": "", "value": 1}', 'has no valid "name"'),
        ('{"name": "a\\u0000b", "value": 1}', 'has no valid "name"'),
        (json.dumps({"name": "x" * (MAX_NAME + 1), "value": 1}), 'has no valid "name"'),
        ("[" * 50_000, "is not JSON"),
        ('{"value": ' + "9" * 5000 + "}", "is not JSON"),
        ('{"value": "' + "x" * MAX_LINE + '"}', "is longer than 64 KiB"),
    ],
)
def test_a_bad_line_is_counted_quoted_and_harms_nothing(tmp_path, line, why):
    reports, reader = read(tmp_path, {"value": 1}, line, "", {"value": 2}, "worse still")
    assert [report.value for report in reports] == [1, 2]
    assert reader.faults == 2
    assert reader.first_fault.startswith("Line 2 of the metrics file ")
    assert why in reader.first_fault
    assert len(reader.first_fault) < 600


def test_binary_junk_harms_nothing(tmp_path):
    path = tmp_path / "metrics"
    path.write_bytes(os.urandom(300_000) + b'\n{"value": 1}\n' + bytes(200_000) + b"\n" + b'{"value": 2}')
    reader = MetricsReader(path, "loss")
    assert [report.value for report in reader.drain()] == [1, 2]
    assert reader.faults > 0


def test_a_torn_last_line_waits_for_its_rest_and_counts_at_the_end(tmp_path):
    path = tmp_path / "metrics"
    reader = MetricsReader(path, "loss")
    assert reader.new() == []
    with path.open("w", buffering=1) as file:
        file.write('{"value": 1}\n{"val')
        file.flush()
        assert [report.value for report in reader.new()] == [1]
        assert reader.new() == []
        file.write('ue": 2}')
        file.flush()
        assert reader.new() == []
        assert [report.value for report in reader.drain()] == [2]
        assert reader.drain() == []


def test_a_limit_bounds_one_look(tmp_path):
    path = tmp_path / "metrics"
    path.write_text('{"value": 1}\n' * 100)
    reader = MetricsReader(path, "loss")
    assert len(reader.new(limit=130)) == 10
    assert len(reader.new(limit=130)) == 10
    assert len(reader.drain()) == 80


def test_a_file_begun_anew_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "metrics"
    path.write_text('{"value": 1}\n' * 10)
    reader = MetricsReader(path, "loss")
    reader.new()
    path.write_text('{"value": 2}\n')
    assert [report.value for report in reader.new()] == [2]


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_file_is_not_read(tmp_path, kind):
    path = tmp_path / "metrics"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    reader = MetricsReader(path, "loss")
    assert reader.new() == reader.drain() == []


line = st.one_of(
    st.builds(
        lambda name, value, more: json.dumps({"name": name, "value": value, **more}),
        st.sampled_from(["default", "loss", "a, b", "é"]),
        st.one_of(st.floats(), st.integers(), st.text(max_size=5), st.none(), st.booleans()),
        st.sampled_from([{}, {"step": 3}, {"final": True}, {"step": -1}]),
    ).map(str.encode),
    st.binary(max_size=30),
    st.just(b"x" * (MAX_LINE + 1)),
    st.just(b'{"value": "' + b"y" * (MAX_LINE - 13) + b'"}'),
)


@given(lines=st.lists(line, max_size=12), cuts=st.lists(st.integers(0, 1 << 17), max_size=12))
def test_any_chunking_gives_the_same_reports(lines, cuts):
    stream = b"\n".join(lines)
    whole, parts = MetricsReader("unused", "loss"), MetricsReader("unused", "loss")
    expected = whole.feed(stream) + whole.feed(b"\n")
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    got = [
        report
        for begin, end in zip(places, places[1:], strict=False)
        for report in parts.feed(stream[begin:end])
    ]
    got += parts.feed(b"\n")
    assert got == expected
    assert (parts.faults, parts.first_fault) == (whole.faults, whole.first_fault)


def test_a_million_lines_are_read_and_bounded(tmp_path):
    """Beyond MAX_POINTS a series' points are counted only; other series and finals are still seen."""
    path = tmp_path / "metrics"
    with path.open("w") as file:
        for part in range(10):
            file.writelines(
                f'{{"name": "loss", "step": {step}, "value": 0.5}}\n'
                for step in range(part * 100_000, (part + 1) * 100_000)
            )
            file.write(f'{{"name": "other", "value": {part}}}\n')
        file.write('{"name": "loss", "final": true, "value": 0.25}\n')
    reader = MetricsReader(path, "loss")
    reports = []
    while new := reader.new():
        reports += new
        assert len(new) < 50_000
    reports += reader.drain()
    points = [report for report in reports if report.name == "loss" and not report.final]
    assert len(points) == MAX_POINTS
    assert reader.dropped == 1_000_000 - MAX_POINTS
    assert [report.value for report in reports if report.name == "other"] == list(range(10))
    assert reports[-1] == Report("loss", reports[-1].step, 0.25, final=True)
    assert reader.faults == 0


def test_a_name_that_is_never_twice_the_same_does_not_fill_the_memory(tmp_path):
    reports, reader = read(
        tmp_path, *({"name": f"n{number}", "value": 1} for number in range(MAX_SERIES + 50))
    )
    assert (len(reports), reader.dropped) == (MAX_SERIES, 50)
