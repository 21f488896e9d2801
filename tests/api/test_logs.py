"""A trial's log by ranges of bytes: every byte once, whole characters, and what was cut is told."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from experiments.api.trial import logs
from experiments.models import LogPiece, Trial
from experiments.models.trial.log import HEAD_BYTES, PIECE_BYTES
from tests.web.trial.test_page import printed

pytestmark = pytest.mark.once

WORDS = "añ€😀\n"


@pytest.fixture
def taken(running) -> Trial:
    return running().trials.get(number=1)


def followed(trial: Trial, *, count: int, start: int = 0) -> tuple[str, int, int]:
    """(the whole text, how many bytes were missing, where it ended), read range by range as `logs -f` does."""
    text, missing, start = "", 0, min(start, trial.log_bytes)
    while True:
        results = logs.read(trial, start=start, count=count)
        assert results.stop - results.start <= count
        text, missing = text + results.text, missing + results.missing
        if results.stop == start:
            return text, missing, start
        assert results.stop > start, "each range leads on"
        start = results.stop


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(4, 40), repeated=st.integers(1, 5), start=st.integers(-60, 60))
def test_every_character_comes_whole_and_once(taken, count, repeated, start):
    data = (WORDS * repeated).encode()
    LogPiece.objects.filter(trial=taken).delete()
    LogPiece.keep(
        [
            LogPiece(trial=taken, offset=at, size=len(data[at : at + 7]), data=data[at : at + 7])
            for at in range(0, len(data), 7)  # pieces cut characters, too
        ]
    )
    taken.log_bytes = len(data)
    begin = max(0, len(data) + start) if start < 0 else min(start, len(data))
    while begin < len(data) and 0x80 <= data[begin] < 0xC0:
        begin += 1  # in the middle of a character: from the next one
    assert followed(taken, count=count, start=start) == (data[begin:].decode(), 0, len(data))


def test_a_character_that_is_being_written_waits_for_its_end(taken):
    """While the trial runs its rest may come; when it has ended, it will not."""
    printed(taken, "so far: €".encode()[:-1])
    results = logs.read(taken, start=0, count=100)
    assert (results.text, results.stop, results.total) == ("so far: ", 8, 10)
    assert logs.read(taken, start=8, count=100).text == ""
    taken.state = "succeeded"
    results = logs.read(taken, start=8, count=100)
    assert (results.text, results.stop) == ("\ufffd", 10)


def test_what_was_cut_is_told_and_left_out(taken):
    """The first and the last 8 MiB are kept: here the head, a gap, and two pieces."""
    total = HEAD_BYTES + 10 * PIECE_BYTES
    data = bytes(range(97, 107)) * (total // 10 + 1)
    printed(taken, data[:total], but=(HEAD_BYTES, HEAD_BYTES + 8 * PIECE_BYTES))
    before = logs.read(taken, start=HEAD_BYTES - 5, count=logs.MAX_BYTES)
    assert before.text.encode() == data[HEAD_BYTES - 5 : HEAD_BYTES] and before.missing == 0
    behind = logs.read(taken, start=before.stop, count=10)
    assert (behind.missing, behind.start) == (8 * PIECE_BYTES, HEAD_BYTES + 8 * PIECE_BYTES)
    assert behind.text.encode() == data[behind.start : behind.start + 10]
    text, missing, end = followed(taken, count=logs.MAX_BYTES)
    assert (len(text), missing, end) == (total - 8 * PIECE_BYTES, 8 * PIECE_BYTES, total)
    inside = logs.read(taken, start=HEAD_BYTES + 8 * PIECE_BYTES - 3, count=10)
    assert (inside.missing, inside.start) == (3, HEAD_BYTES + 8 * PIECE_BYTES)


def test_bytes_that_are_no_text_are_replaced_and_the_rest_stays(taken):
    printed(taken, b"\x80\x80\x80\x80a\xffb\xf0c\x00\xc3")
    taken.state = "failed"
    text, missing, end = followed(taken, count=4)
    assert (text, missing, end) == ("\ufffd\ufffd\ufffd\ufffda\ufffdb\ufffdc\x00\ufffd", 0, 11)


def test_an_empty_log_and_one_beyond_its_end(taken):
    assert logs.read(taken, start=0, count=100) == logs.Range("", 0, 0, 0)
    printed(taken, b"abc")
    assert logs.read(taken, start=10**15, count=100) == logs.Range("", 3, 3, 3)
    assert logs.read(taken, start=-2, count=100) == logs.Range("bc", 1, 3, 3)
