import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.runner.dialects.native import MAX_LINE
from experiments.runner.output.metric_pattern import PatternReader, check, warning
from experiments.runner.report import Report


def values(pattern: str, output: bytes | str) -> list[float | None]:
    reader = PatternReader(pattern, "acc")
    reports = reader.feed(output.encode() if isinstance(output, str) else output) + reader.drain()
    return [report.value for report in reports if not report.final]


@pytest.mark.parametrize(
    "pattern",
    [r"acc: ([\d.]+)", r"(?P<value>\d+)/(\d+)", r"(?:loss|acc)=(\S+)", r"(?i)ACC (.*)", "acc: {number}%"],
)
def test_a_pattern_with_one_group_or_a_named_one_is_good(pattern):
    """TD-F3"""
    assert check(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("", "Enter a regular expression"),
        ("acc: [0-9]+", "Mark the number with {number}"),
        (r"(\w+): (\d+)", "several groups"),
        ("{number} of {number}", "more than once"),
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
    ("output", "expected"),
    [
        ("acc=1e-3\nacc=-0.5\nacc=+2", [0.001, -0.5, 2]),
        ("acc=nan\nacc=inf\nacc=bad", [None, None, None]),
        ("1% acc=0.1\r2% acc=0.2\r\n", [0.1, 0.2]),
        ("\x1b[32macc=\x1b[1m0.5\x1b[0m\n", [0.5]),
        (b"\xff\xfe acc=0.5 \x00\n", [0.5]),
        ("acc=\n", []),
        ("acc=93% acc=0.5, acc=1,234.5. acc=(2)", [93, 0.5, 1234.5, None]),
    ],
)
def test_it_reads_what_people_print(output, expected):
    assert values(r"acc=(\S*)", output) == expected


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


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.5", 0.5),
        ("-.5", -0.5),
        ("+1E+20", 1e20),
        ("−3", -3),
        ("7.539e-05", 7.539e-05),
        ("2.5D-03", 0.0025),
        ("1,234,567.5", 1234567.5),
        ("1'000", 1000),
        ("1_000", 1000),
        ("93%", 93),
        ("12ms", 12),
        ("0.93.", 0.93),
        ("5]", 5),
        ("0.5,0.7", 0.5),
        ("nan", None),
        ("-NaN", None),
        ("Infinity", None),
        ("1\u202f234.5", 1234.5),
        ("1\u00a0234\u00a0567", 1234567),
        ("1.#QNAN", None),
        ("-1.#IND", None),
        ("–0.25", -0.25),
        ("   0.5", 0.5),
        ("\t0.5", 0.5),
        ('"0.5"', 0.5),
        ("[0.5]", 0.5),
        ("np.float64(0.5)", 0.5),
        ("np.float32(-1e-05)", -1e-05),
        ("tensor(0.5000, device='cuda:0', grad_fn=<NllLossBackward0>)", 0.5),
        ("tensor([0.5])", 0.5),
        ("tf.Tensor(0.5, shape=(), dtype=float32)", 0.5),
        ("Array(0.5, dtype=float32)", 0.5),
        ("Decimal('0.5')", 0.5),
        ("np.float64(nan)", None),
        ("1.#INF", None),
        ("1’234’567.5", 1234567.5),
        ("1.2k", 1200),
        ("0.07M", 70_000),
        ("2e-3G", 2e6),
        ("12.5K/s", 12_500),
        ("1.2kg", 1.2),
        ("3MB", 3),
        ("5 m²", 5),
        ("-∞", None),
    ],
)
def test_number_reads_every_notation(text, number):
    """TD-V3"""
    assert values("acc={number}", f"acc={text}") == [number]


@pytest.mark.parametrize(
    ("pattern", "line", "whole"),
    [
        ("loss=([0-9.]+)", "loss=7.539e-05", "7.539e-05"),
        (r"loss=(\d+)", "loss=7.5", "7.5"),
        (r"loss=(\d+).*", "loss=7.5", "7.5"),
        (r"loss=([0-9.]+)e", "loss=7.5e-05", "7.5e-05"),
        (r"loss=([0-9.]+)", "loss=1,234.5", "1,234.5"),
        (r"loss[^0-9]*([0-9.]+)", "loss: -0.5", "-0.5"),
        (r"loss=-?([0-9.]+)", "loss=-0.5", "-0.5"),
        (r"loss=.*?([0-9]+)$", "loss=12.5", "12.5"),
        (r"loss=(\d)", "loss=12", "12"),
        (r"loss=(\d+)", "loss=0x1F", "0x1F"),
        ("loss={number}", "loss=0,5", "0,5"),
        ("loss={number}", "loss=1.2.3", "1.2.3"),
        ("at {number}", "at 2026-11-30", "2026-11-30"),
        ("at {number}", "at 11/30/26 12:00", "11/30/26"),
        ("loss={number}", "loss=12:30", "12:30"),
        ("loss={number}", "loss=7.5x10^-5", "7.5x10^-5"),
        ("loss={number}", "loss=1,2345", "1,2345"),
        ("loss={number}", "loss=0.5+0.1j", "0.5+0.1j"),
        ("loss={number}", "loss=1\u202f234,5", "1\u202f234,5"),
        ("([0-9.]+)$", "loss=1,234.5", "1,234.5"),
        ("loss={number}", "loss=1.234,5", "1.234,5"),
        ("loss={number}", "loss=7.5·10⁻⁵", "7.5·10⁻⁵"),
        ("loss={number}", "loss=1d3", "1d3"),
        ("loss={number}", "loss=[0.5, 0.7]", "[0.5, 0.7]"),
        ("loss={number}", "loss=[0.5 0.7]", "[0.5 0.7]"),
        ("loss={number}", "loss=tensor([0.5, 0.7])", "[0.5, 0.7]"),
        ("loss={number}", "loss=0b101", "0b101"),
        ("loss={number}", "loss=0o17", "0o17"),
        ("loss={number}", "loss=10^-3", "10^-3"),
        ("loss={number}", "loss=10**-3", "10**-3"),
        ("loss={number}", "loss=10⁻³", "10⁻³"),
        ("loss={number}", "loss=1½", "1½"),
        ("loss={number}", "loss=1’23", "1’23"),
        ("took {number}", "took 1m30s", "1m30s"),
        ("took {number}", "took 2h 5m", "2h 5m"),
        ("took {number}", "took 1 day, 2:03:04", "1 day, 2:03:04"),
        ("took {number}", "took 0 days 00:01:30.5", "0 days 00:01:30.5"),
        ("loss={number}", "loss=3/10", "3/10"),
        ("loss=([0-9.]+)", "loss=3 / 10", "3 / 10"),
        ("loss={number}", "loss=0.9/1.0", "0.9/1.0"),
        ("loss={number}", "loss=5 of 10", "5 of 10"),
        ("loss={number}", "loss=50 out of 100", "50 out of 100"),
        ("loss=([0-9.]+)", "loss=12%-15%", "12%-15%"),
        ("loss={number}%", "loss=12%-15%", "12%-15%"),
        ("loss={number}", "loss=0.5-0.7", "0.5-0.7"),
        ("loss={number}", "loss=0.5…0.7", "0.5…0.7"),
        ("loss={number}", "loss=0.5 -> 0.3 after 2", "0.5 -> 0.3"),
        ("loss={number}", "loss=$3/$10", "3/$10"),
        ("loss={number}", "loss=1e5e", "1e5e"),
        ("loss={number}", "loss=1.5e-", "1.5e-"),
        ("loss={number}", "loss=1 234,5", "1 234,5"),
        ("loss=([0-9.]+)", "loss=12 345 678.9 s", "12 345 678.9"),
        (r"loss=(\S+)", "loss=1 234", "1 234"),
        ("loss={number}", "loss=1.2.3", "1.2.3"),
        ("loss={number}", "loss=192.168.0.1", "192.168.0.1"),
        ("loss={number}", "loss=30.11.2026", "30.11.2026"),
        ("loss={number}", "loss=3:10", "3:10"),
        ("rate=([0-9.]+)", "rate=1.2k", "1.2k"),
        ("rate=([0-9.]+).*", "rate=1.2k it/s", "1.2k"),
        ("loss: ([0-9.]+),", "loss: 1,234.5, acc: 1", "1,234.5"),
    ],
)
def test_a_part_of_a_longer_number_is_never_a_value(pattern, line, whole):
    """TD-V3: neither as a point nor as the final result, also when a later match is whole."""
    reader = PatternReader(pattern, "loss")
    reports = reader.feed(f"{line}\n".encode()) + reader.drain()
    assert [(report.value, report.text) for report in reports] == [(None, whole)] * 2
    assert whole in reader.fault


@pytest.mark.parametrize(
    ("line", "following"),
    [
        ("loss=3/10", "/"),
        ("loss=5 of 10", r"\sof"),
        ("loss=0.5->0.3", "->"),
        ("loss=12 % / 15", r"\s%\s/"),
        ("loss=1 234", r"\s"),
    ],
)
def test_two_numbers_say_how_to_read_the_first(line, following):
    """TD-V3: what the message proposes reads it."""
    reader = PatternReader("loss={number}", "loss")
    reader.feed(f"{line}\n".encode())
    assert reader.fault.endswith(f"name what follows in the pattern: {{number}}{following}")
    (value,) = values(f"loss={{number}}{following}", line)
    assert value is not None


@pytest.mark.parametrize(
    ("pattern", "line", "value"),
    [
        (r"^\d+,{number}", "3,0.25", 0.25),
        (r"^\d+,(\d+),", "12,345,678", 345),
        (r"acc-([0-9.]+)", "acc-0.93", 0.93),
        (r"acc1=([0-9.]+)", "acc1=0.93", 0.93),
        (r"(\d+)/\d+", "3/10", 3),
        ("losses={number}", "losses=1.234,5,6.5", 1.234),
        ("acc=.*?{number}", "acc=np.float64(0.512)", 0.512),
        ("'acc': {number}", "{'acc': np.float64(0.5), 'f1': 0.25}", 0.5),
        ("{number} acc", "  -0.5 acc", -0.5),
        ("rate={number}k", "rate=1.2k", 1.2),
        (r"rate=([0-9.]+)k", "rate=1.2k", 1.2),
        ("loss: {number},", "loss: 1,234.5, acc: 1", 1234.5),
        (r"loss: ([0-9.]+),", "loss: 0.5, 0.7", 0.5),
        ("acc={number}/", "acc=3/10", 3),
        (r"acc={number}\s", "acc=1 234 s", 1),
        ("acc={number}%-", "acc=12%-15%", 12),
        ("acc={number}", "acc=0.5±0.1", 0.5),
        ("acc={number}", "acc=0.5 ± 0.1", 0.5),
        ("acc={number}", "acc=0.5+/-0.1", 0.5),
        ("acc={number}", "acc=~0.5", 0.5),
        ("acc={number}", "acc=≈ 0.5", 0.5),
        ("acc=([0-9.]+)", "acc=€5", 5),
        ("acc={number}", "acc=1_000", 1000),
        ("acc={number}", "acc=0.5 - 0.7", 0.5),  # columns
        ("acc={number}", "acc=0.5 / 0.7", 0.5),
        ("acc={number}", "acc=0.5 - loss=3", 0.5),
        ("acc={number}", "acc=3 1000", 3),
        ("acc={number}", "acc=0 100", 0),
        ("acc={number}", "acc=0.91-epoch=3.ckpt", 0.91),
        ("acc={number}", "acc=95.3% (953/1000)", 95.3),
    ],
)
def test_what_stands_beside_a_number_is_no_part_of_it(pattern, line, value):
    """TD-V3: lists, labels and fractions"""
    assert values(pattern, line) == [value]


@pytest.mark.parametrize(
    ("last", "final"),
    [
        ("nan", (None, "NaN")),
        ("-inf", (None, "-Infinity")),
        ("None", (None, "None")),
        ("N/A", (None, "N/A")),
        ("<NA>", (None, "<NA>")),
        ("-∞", (None, "-Infinity")),
        ("<0.001", (None, "<0.001")),
        ("≥ 0.9", (None, "≥ 0.9")),
        ("٣", (None, "٣")),
        ("½", (None, "½")),
        ("-0.3", (-0.3, "")),
    ],
)
def test_the_last_line_with_the_label_counts(last, final):
    """TD-V3: also when the pattern's own group passes over its number."""
    reader = PatternReader("loss=([0-9.]+)", "loss")
    *_, report = reader.feed(f"loss=0.5\nloss={last}\n".encode()) + reader.drain()
    assert (report.value, report.text, report.final) == (*final, True)


@pytest.mark.parametrize(
    ("pattern", "lines", "value"),
    [
        (r"loss=(\d+\.\d+)", "loss=0.3\nloss=1e-05\n", 1e-05),
        (r"loss=(\d+\.\d+)", "loss=0.3\nloss=1\n", 1),
        (r"acc=(\d+)%", "acc=90%\nacc=93.5%\n", 93.5),
        (r"acc=(\d\.\d+)", "acc=0.5\nacc=np.float64(0.9)\n", 0.9),
        ("loss: {number}", "loss:  10.25\nloss:   9.75\n", 9.75),
        (r": ([01]\.\d+)", "acc: 0.91\nsteps: 10\n", 0.91),  # without a label, the group alone decides
    ],
)
def test_behind_a_label_any_notation_counts(pattern, lines, value):
    """TD-V3: an earlier line is not the result because the last one is written in another way."""
    reader = PatternReader(pattern, "m")
    *_, report = reader.feed(lines.encode()) + reader.drain()
    assert report == Report("m", report.step, value, final=True)


@pytest.mark.parametrize("separator", [";", "; "])
def test_no_number_of_an_endless_line_is_cut(separator):
    """TD-V3: `print(..., end=" ")` makes a single line of any length, which is read in parts."""
    numbers = [float(f"{number}e-05") for number in range(10_000, 30_000)]
    text = separator.join(f"loss={number!r}" for number in numbers)
    assert len(text) > 3 * MAX_LINE
    assert values("loss={number}", text) == numbers


@pytest.mark.parametrize(
    "pattern",
    ["loss=([0-9.]+)", r"loss=(?P<value>\d+\.\d+)", r"(\w+)?loss=(?P<value>\d+)", r"loss=(\d\.\d{4})"],
)
def test_a_pattern_that_cuts_numbers_warns(pattern):
    """TD-V3"""
    assert "{number}" in warning(pattern)


@pytest.mark.parametrize(
    "pattern", ["loss={number}", r"loss=(\S+)", r"loss=([-+0-9.eE]+)", "loss=(", r"[{number}](.*)"]
)
def test_a_pattern_that_reads_whole_numbers_does_not_warn(pattern):
    """TD-V3"""
    assert warning(pattern) is None
