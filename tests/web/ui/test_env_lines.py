"""Lines of environment variables, as people paste them from a .env file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experiments.web.ui.env_lines import parse, written

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("line", "pair"),
    [
        ("A=1", ("A", "1")),
        ("export A=1", ("A", "1")),
        ("  A = one two  ", ("A", "one two")),
        ("A=", ("A", "")),
        ("URL=http://x/?a=b#top", ("URL", "http://x/?a=b#top")),
        ("A=1 # a comment", ("A", "1")),
        ('A="one # two"  # a comment', ("A", "one # two")),
        (r'A="a\"b\nc\\"', ("A", 'a"b\nc\\')),
        (r"A='a\nb'", ("A", r"a\nb")),
        ("A=it's", ("A", "it's")),
        ("# A=1", None),
        ("   ", None),
    ],
)
def test_a_line_of_an_env_file(line, pair):
    """TD-F2: quotes, export, comments."""
    assert parse(line) == pair


@pytest.mark.parametrize("line", ["A", "=1", 'A="open', "A='x' y", "export"])
def test_what_is_no_such_line_is_refused(line):
    with pytest.raises(ValueError, match=r"enter NAME=VALUE|close the quote"):
        parse(line)


@given(value=st.text(st.characters(exclude_characters="\0", codec="utf-8")))
def test_what_is_written_is_read_back(value):
    line = written("A", value)
    assert parse(line) == ("A", value) and len(line.splitlines()) <= len(f"A={value}x".splitlines())
