"""NNI's frames as its package writes them, and as nobody should."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.runner.dialects.nni import FrameReader
from experiments.runner.report import MAX_POINTS, MAX_SERIES, Report


def frame(value: object, kind: str = "PERIODICAL", sequence: object = 0) -> bytes:
    """As nni 3.0 writes it; text that is no JSON is taken as its package dumped it."""
    text = value if isinstance(value, str) else json.dumps(value)
    record = {
        "parameter_id": 7,
        "trial_job_id": "7f3k2m9q-8",
        "type": kind,
        "sequence": sequence,
        "value": text,
    }
    return framed(json.dumps(record).encode() + b"\n")


def framed(payload: bytes) -> bytes:
    return b"ME%06d%b" % (len(payload), payload)


def read(*frames: bytes, objective: str = "accuracy") -> tuple[list[Report], FrameReader]:
    reader = FrameReader("unused", objective)
    return reader.feed(b"".join(frames)) + reader.end(), reader


def test_what_the_package_writes_is_read() -> None:
    """NNI-T2: verbatim from nni 3.0."""
    reports, reader = read(
        b'ME000098{"parameter_id": 7, "trial_job_id": "Ab3dE", "type": "PERIODICAL", "sequence": 0, "value": "0.0"}\n',
        frame(0.25, sequence=1),
        frame({"default": 0.5, "loss": 2, "words": "no metric", "epoch_done": True}, sequence=2),
        frame({"accuracy": 0.6, "loss": 1.5}, sequence=3),
        framed(
            b'{"trial_job_id": "Ab3dE", "type": "REQUEST_PARAMETER", "sequence": 0, "parameter_index": 1}\n'
        ),
        frame({"loss": 1, "default": 0.75}, "FINAL"),
    )
    assert reports == [
        Report("accuracy", 0, 0.0),
        Report("accuracy", 1, 0.25),
        Report("accuracy", 2, 0.5),
        Report("loss", 2, 2.0),
        Report("accuracy", 3, 0.6),
        Report("loss", 3, 1.5),
        Report("loss", 3, 1.0, final=True),
        Report("accuracy", 3, 0.75, final=True),
    ]
    assert (reader.notes(), reader.dropped) == ([], 0)


@pytest.mark.parametrize(
    ("value", "number", "text"),
    [
        ("NaN", None, "NaN"),
        ("-Infinity", None, "-Infinity"),
        ("null", None, "null"),
        ("true", None, "true"),
        ('"0.5"', None, "0.5"),
        ("[0.5]", None, "[0.5]"),
        ('{"__ndarray__": 0.25, "dtype": "float64", "shape": []}', 0.25, ""),
        ('{"__ndarray__": [[0.25]], "dtype": "float64", "shape": [1, 1]}', 0.25, ""),
        ('{"__ndarray__": [1, 2], "dtype": "int64", "shape": [2]}', None, "An array of several numbers"),
        ('{"__decimal__": "0.25"}', 0.25, ""),
        ('{"__decimal__": "sNaN(1"}', None, "A Python object"),
        ('{"__fraction__": true, "numerator": 1, "denominator": 4}', 0.25, ""),
        (
            '{"__fraction__": true, "numerator": 1, "denominator": 0}',
            None,
            "A Python object",
        ),
        ('{"__nni_type__": "bytes:gASVyQEAAAAA"}', None, "A Python object"),
        ('{"__nni_obj__": "gAWVvQIAAAA"}', None, "A Python object"),
        ('{"default": {"__ndarray__": 0.25}}', 0.25, ""),
        ('{"default": {"__nni_obj__": "gAWV"}}', None, "A Python object"),
    ],
)
def test_a_value_is_a_number_or_says_what_it_is(value: str, number: float | None, text: str) -> None:
    """NNI-T2: numpy's scalars and arrays of one are numbers; what only Python can read is never decoded."""
    reports, reader = read(frame(value), frame(value, "FINAL"))
    assert reports == [Report("accuracy", 0, number, text), Report("accuracy", 0, number, text, final=True)]
    assert reader.faults == 0
    assert bool(reader.notes()) == text.startswith("A Python object")


def test_the_objective_may_itself_be_called_default() -> None:
    """NNI-T2: it is called so where nobody named it; and where somebody did, "default" wins over that name."""
    assert read(frame({"default": 0.5}), objective="default")[0] == [Report("default", 0, 0.5)]
    assert read(frame({"accuracy": 1, "default": 0.5}))[0] == [Report("accuracy", 0, 0.5)]


def test_a_dict_without_the_objective_is_told() -> None:
    """NNI-T2: its other metrics are kept."""
    reports, reader = read(frame({"loss": 0.5}, "FINAL"))
    assert reports == [Report("loss", 0, 0.5, final=True)]
    assert reader.notes() == [
        "The dict in the frame at byte 0 of NNI's metrics file has no key \"default\" or 'accuracy'."
    ]


GOOD = frame(0.5)


@pytest.mark.parametrize(
    ("bad", "faults", "why"),
    [
        (b"junk", 1, "No complete frame at byte 111 of NNI's metrics file"),
        (b"ME00x012", 1, "No complete frame"),
        (b"ME999999", 1, "No complete frame"),
        (b"ME000000", 1, "No complete frame"),
        (GOOD[:40], 1, "No complete frame"),
        (framed(b"not json\n"), 1, "The frame at byte 111 of NNI's metrics file is not JSON."),
        (framed(b"\xff\xfe\n"), 1, "is not JSON"),
        (framed(b"[" * 5000 + b"\n"), 1, "is not JSON"),
        (frame("{"), 1, "is not JSON"),
        (frame("[" * 5000), 1, "is not JSON"),
        (frame("9" * 5000), 1, "is not JSON"),
        (framed(b"[]\n"), 1, "contains no report"),
        (framed(b'{"type": "FINAL"}\n'), 1, "contains no report"),
        (frame(1, "CUSTOM"), 1, "contains no report"),
        (frame(1, ["FINAL"]), 1, "contains no report"),
        (frame({"": 1, "default": 0.5}) + b"?" + GOOD, 2, "an invalid name"),
    ],
)
def test_a_bad_frame_is_counted_and_harms_nothing_else(bad: bytes, faults: int, why: str) -> None:
    """NNI-T2: the frames around it are read."""
    whole, reader = read(GOOD, bad, frame(0.75, "FINAL"))
    assert whole[0] == Report("accuracy", 0, 0.5)
    assert whole[-1] == Report("accuracy", 0, 0.75, final=True)
    assert reader.faults == faults
    assert why in reader.notes()[0]


@pytest.mark.parametrize("step", [True, "3", None, 2**60, [1]])
def test_a_sequence_that_is_none_counts_as_left_out(step: object) -> None:
    reports, _ = read(frame(1, sequence=4), frame(2, sequence=step), frame(3, sequence=9))
    assert [report.step for report in reports] == [4, 5, 9]


parts = st.one_of(
    st.builds(
        frame,
        st.one_of(
            st.floats(),
            st.integers(),
            st.text(max_size=5),
            st.none(),
            st.dictionaries(st.sampled_from(["default", "loss", "é", "__ndarray__", "__decimal__"]), st.floats()),
            st.recursive(st.floats() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)),
        ),
        st.sampled_from(["PERIODICAL", "FINAL", "REQUEST_PARAMETER", "?"]),
        st.sampled_from([0, 1, -1, None, 10**20]),
    ),
    st.binary(max_size=30),
    st.sampled_from([b"ME", b"ME0000", b"ME000009", b"ME000100", b"\n", GOOD[:50], GOOD[50:]]),
)  # fmt: skip


@given(pieces=st.lists(parts, max_size=12), cuts=st.lists(st.integers(0, 3000), max_size=12))
def test_any_chunking_gives_the_same_reports(pieces: list[bytes], cuts: list[int]) -> None:
    """NNI-T2: frames cut anywhere, junk between them."""
    stream = b"".join(pieces)
    expected, whole = read(stream)
    reader, got = FrameReader("unused", "accuracy"), []
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    for begin, end in zip(places, places[1:], strict=False):
        got += reader.feed(stream[begin:end])
    assert got + reader.end() == expected
    assert (reader.faults, reader.notes()) == (whole.faults, whole.notes())


def test_hostile_files_are_bounded(tmp_path) -> None:
    """NNI-T2: series are bounded as in our own channel; heads without end, and junk, are passed over."""
    path = tmp_path / "metrics"
    many = {f"m{number}": 1 for number in range(MAX_SERIES + 50)}
    with path.open("wb") as file:
        file.write(frame(many))
        file.write(b"".join(frame(step, sequence=step) for step in range(MAX_POINTS // 100)))
        file.write(b"ME000016" * 100_000 + os.urandom(300_000) + b"\n" + b"ME999999" * 200_000)
        file.write(frame(0.25, "FINAL"))
        file.write(b"ME999999 and then silence")
    reader = FrameReader(path, "m7")
    reports = []
    while new := reader.new(4 << 20):
        reports += new
    reports += reader.drain()
    assert reports[-1] == Report("m7", reports[-1].step, 0.25, final=True)
    assert len(reports) == MAX_SERIES + MAX_POINTS // 100 + 1
    assert reader.dropped == 50
    assert reader.faults >= 1
