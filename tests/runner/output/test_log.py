from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from experiments.runner.keeper.logs import CappedLog
from experiments.runner.output.log import LogReader, plain_text


def write(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_it_reads_each_byte_once_while_the_log_grows(tmp_path):
    reader = LogReader(tmp_path / "log")
    assert reader.new() == []
    log = CappedLog(str(tmp_path / "log"), 100)
    got = b""
    for number in range(40):
        log.write(b"%03d\n" % number)
        got += b"".join(piece.data for piece in reader.new())
    log.close()
    assert got == b"".join(b"%03d\n" % number for number in range(40))
    assert (reader.total, reader.dropped) == (160, 0)
    assert reader.new() == []


@given(
    chunks=st.lists(st.binary(max_size=50), max_size=60),
    cap=st.integers(1, 40),
    reads=st.sets(st.integers(0, 60)),
)
def test_head_and_tail_are_kept_whatever_the_chunks(tmp_path_factory, chunks, cap, reads):
    folder = tmp_path_factory.mktemp("log")
    log, follower = CappedLog(str(folder / "log"), cap), LogReader(folder / "log")
    followed = 0
    for number, chunk in enumerate(chunks):
        log.write(chunk)
        if number in reads:
            followed += sum(len(piece.data) for piece in follower.new())
    log.close()
    followed += sum(len(piece.data) for piece in follower.new())
    stream = b"".join(chunks)

    reader = LogReader(folder / "log")
    pieces = reader.new()
    for piece in pieces:
        assert stream[piece.offset :][: len(piece.data)] == piece.data
    kept = sum(len(piece.data) for piece in pieces)
    assert reader.total == len(stream) == kept + reader.dropped == followed + follower.dropped
    assert kept >= min(len(stream), 2 * cap)
    assert kept <= 3 * cap
    if stream:
        assert pieces[0].offset == 0
        assert pieces[-1].offset + len(pieces[-1].data) == len(stream)


def test_a_limit_bounds_one_look_and_loses_nothing(tmp_path):
    log = CappedLog(str(tmp_path / "log"), 64)
    log.write(bytes(range(150)))
    log.close()
    reader = LogReader(tmp_path / "log")
    got = b""
    while pieces := reader.new(limit=7):
        assert sum(len(piece.data) for piece in pieces) <= 7
        got += b"".join(piece.data for piece in pieces)
    assert got == bytes(range(150))


@example(sizes=[21, 40], reads={0: 21})
@given(
    sizes=st.lists(st.integers(0, 200), max_size=30),
    reads=st.dictionaries(st.integers(0, 30), st.integers(1, 60)),
)
def test_what_is_unread_is_what_the_next_look_returns(tmp_path_factory, sizes, reads):
    """Also where the reader is so late that what it would read next was dropped."""
    folder = tmp_path_factory.mktemp("log")
    log, reader = CappedLog(str(folder / "log"), 20), LogReader(folder / "log")
    for number, size in enumerate(sizes):
        log.write(bytes(size))
        if number in reads:
            reader.new(limit=reads[number])
    log.close()
    assert reader.unread() == sum(len(piece.data) for piece in reader.new())


def test_a_gap_that_a_full_disk_left_is_counted(tmp_path):
    write(tmp_path / "log.head", b"abc")
    write(tmp_path / "log.10", b"xyz")
    reader = LogReader(tmp_path / "log")
    assert [(piece.offset, piece.data) for piece in reader.new()] == [(0, b"abc"), (10, b"xyz")]
    assert (reader.total, reader.dropped) == (13, 7)


def test_a_new_log_begins_anew_and_leaves_other_files_alone(tmp_path):
    for name in ("log.head", "log.8388608", "log.txt", "log2.head"):
        write(tmp_path / name, b"old")
    CappedLog(str(tmp_path / "log"), 10).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.head", "log.txt", "log2.head"]
    assert (tmp_path / "log.head").read_bytes() == b""


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("10%\r55%\r100%\ndone\n", "100%\ndone\n"),
        ("abcdef\rxy\n", "xycdef\n"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("loading...\r\x1b[Kok", "ok"),
        ("loading...\x1b[2K\rok", "ok"),
        ("abc\b\bX", "aXc"),
        ("\b\bok", "ok"),
        ("\x1b[1;31mred\x1b[0m \x1b[38;5;9mtoo\x1b[m", "red too"),
        ("\x1b]0;title\x07text \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "text link"),
        ("\x1b(Bplain\x1b7\x1b8", "plain"),
        ("a\tb\x00\x07\x7f\x85c", "a\tbc"),
        ("\x1b[31mab\r\x1b[32mX", "Xb"),
        ("unfinished \x1b[", "unfinished "),
        ("loss=0.95\x1b[1G\x1b[0Kloss=0.3", "loss=0.3"),
        ("loss=0.95\x1b[4D0.7", "loss=0.75"),
        ("a\x1b[3Cb\x1b[9999Dc\x1b[G\x1b[Cd", "cd  b"),
        (b"caf\xc3\xa9 \xff\xfe", "café \ufffd\ufffd"),
        ("", ""),
        ("\n\n", "\n\n"),
    ],
)
def test_text_looks_as_a_terminal_leaves_it(raw, shown):
    assert plain_text(raw) == shown


@given(st.text(alphabet="ab\r\n\b\x1b[]0;1K2m\x07\\\t", max_size=60))
def test_no_control_character_comes_through(raw):
    shown = plain_text(raw)
    assert not any(ord(char) < 32 and char not in "\n\t" for char in shown)
    assert shown.count("\n") == raw.count("\n")


@pytest.mark.parametrize(
    "piece", ["\x1b]", "\x1b[", "\x1b[1;", "a\r", "\x1b[K", "\x1b[1K", "x\x1b[2K", "\b", "\x1b[999Ca"]
)
@pytest.mark.timeout(30)
def test_no_text_takes_quadratic_time(piece):
    """2 MB after a line of 1 MB: anything quadratic would take hours."""
    assert len(plain_text("x" * 1_000_000 + piece * (2_000_000 // len(piece)))) <= 3_000_000
