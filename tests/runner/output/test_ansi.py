"""Colours of a log: the text is what the plain one is, the runs carry what a terminal would colour."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.runner.output.ansi import PLAIN, Style, StyledText, styled
from experiments.runner.output.log import plain_text

PIECES = st.sampled_from(
    [
        "a",
        "Ω",
        "word ",
        "\r",
        "\b",
        "\n",
        "\r\n",
        "\t",
        "\x00",
        "\x1b[2K",
        "\x1b[K",
        "\x1b[0K",
        "\x1b[3A",
        "\x1b[2C",
        "\x1b[D",
        "\x1b[3G",
    ]
    + ["\x1b[31m", "\x1b[1;92m", "\x1b[m", "\x1b[38;5;9m", "\x1b]0;title\x07", "\x1b7", "\x9b", "[31m", "m"]
)


def runs(text: str) -> list[tuple[str, int | None, bool]]:
    (line,) = styled(text)
    return [(run.text, run.style.color, run.style.is_bold) for run in line]


@given(st.lists(PIECES, max_size=40))
def test_joined_they_are_the_plain_text(pieces):
    """TD-X5: progress bars fold in the same way, with colours and without."""
    text = "".join(pieces)
    assert "\n".join("".join(run.text for run in line) for line in styled(text)) == plain_text(text)


@pytest.mark.parametrize(
    ("codes", "style"),
    [
        ("31", Style(1)),
        ("97", Style(15)),
        ("1", Style(None, True)),
        ("1;32", Style(2, True)),
        ("33;22", Style(3)),
        ("31;39", PLAIN),
        ("31;1;0", PLAIN),
        ("", PLAIN),
        ("31;", PLAIN),
        ("38;5;12", Style(12)),
        ("38;5;200", PLAIN),
        ("38;2;1;31;3;34", Style(4)),
        ("48;5;31;35", Style(5)),
        ("48;2;31;31;31", PLAIN),
        ("38", PLAIN),
        ("38;5", PLAIN),
        ("4;7;41", PLAIN),
        ("9" * 5000, PLAIN),
    ],
)
def test_a_style_is_what_its_codes_say(codes, style):
    assert styled(f"\x1b[{codes}mx") == [[StyledText("x", style)]]


def test_a_style_goes_on_over_lines_until_it_is_ended():
    first, second = styled("\x1b[31mone\ntwo\x1b[0m three")
    assert first == [StyledText("one", Style(1))]
    assert second == [StyledText("two", Style(1)), StyledText(" three", PLAIN)]


def test_a_bar_that_was_drawn_over_keeps_the_colours_of_its_end():
    assert runs("\x1b[31m 10%\r\x1b[32m100%\x1b[0m done") == [("100%", 2, False), (" done", None, False)]
    assert runs("\x1b[31mabcdef\r\x1b[32mxy") == [("xy", 2, False), ("cdef", 1, False)]


def test_bytes_that_are_no_text_do_no_harm():
    assert runs(b"\x1b[31m\xff\xfe".decode("utf-8", "replace")) == [("��", 1, False)]
    assert styled(b"\xff") == [[StyledText("�", PLAIN)]]


NESTED = """
import time
from tqdm import tqdm
print("begins")
for epoch in tqdm(range(3), desc="epochs", mininterval=0, ncols=60):
    for batch in tqdm(range(20), desc="batches", mininterval=0, leave=False, ncols=60):
        pass
print("done")
"""


def test_nested_progress_bars_take_a_line_each():
    """TD-V9: what the real tqdm prints; its inner bar moves the cursor up for the outer one."""
    done = subprocess.run(
        [sys.executable, "-uc", NESTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=True,
        timeout=60,
    )
    assert done.stdout.count(b"\n") > 60, "each refresh goes to another line"
    lines = [line.rstrip() for line in plain_text(done.stdout).split("\n") if line.strip()]
    assert lines[0] == "begins" and "epochs: 100%" in lines[1] and lines[-1] == "done"
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        ("a\nb\x1b[A\rX", ["X", "b"]),
        ("one\ntwo\x1b[1A\x1b[2Kthree\nfour", ["three", "four"]),
        ("a\nb\nc\x1b[2F\x1b[JX", ["X"]),
        ("a\nb\x1b[A\x1b[BX", ["a", "bX"]),
        ("ab\n\x1b[Ac", ["cb", ""]),
        ("a\x1b[9999A\rb", ["b"]),
        ("\x1b[Aa\nlong\x1b[AX", ["a   X", "long"]),
    ],
)
def test_moves_to_earlier_lines_replace_them(raw, lines):
    assert plain_text(raw).split("\n") == lines
    assert ["".join(piece.text for piece in line) for line in styled(raw)] == lines


def test_a_program_changes_no_more_than_a_screen():
    assert plain_text("\n".join(map(str, range(300))) + "\x1b[9999A\rX").split("\n").index("X00") == 200
