"""A trial's log in its colours, and searched: a line at a time, by links, over all that is kept."""

from __future__ import annotations

import re
from html import unescape

import pytest

from experiments.models import Trial
from experiments.models.trial.log import HEAD_BYTES, PIECE_BYTES
from experiments.web.trial import logs
from tests.web.trial.test_page import as_, lines, printed, url_of
from tests.web.ui.test_front_end_rules import contrast, tokens

pytestmark = pytest.mark.once


@pytest.fixture
def taken(running) -> Trial:
    return running().trials.get(number=1)


def search(user, trial: Trial, query: str, status_code: int = 200) -> str:
    response = as_(user).get(url_of(trial, "trial-log") + query)
    assert response.status_code == status_code
    return response.content.decode()


def status(html: str) -> str:
    return re.search(r'<span role="status">([^<]*)</span>', html)[1]


def here(html: str) -> str:
    """The line with the match that is looked at, as text."""
    log = re.search(r'<pre class="log"[^>]*>(.*?)</pre>', html, re.S)[1]
    return unescape(next(re.sub(r"<[^>]*>", "", line) for line in log.split("\n") if 'id="match"' in line))


def test_colours_are_classes_and_nothing_in_a_log_is_html(taken, bob):
    """TD-X5: 16 colours and bold; no style attribute, which the CSP would refuse."""
    printed(taken, b'\x1b[1;31m<b onclick="x">&\x1b[0m \x1b[92mgood\x1b[0m \x1b[38;5;200mpink\n')
    html = as_(bob).get(url_of(taken)).content.decode()
    assert '<span class="ink-1 is-bold">&lt;b onclick=&quot;x&quot;&gt;&amp;</span> ' in html
    assert '<span class="ink-10">good</span> pink' in html
    assert "<b onclick" not in html and "style=" not in html


@pytest.mark.parametrize(
    "text", ["a < b\n\n\tc & 'd'\n", "", "\n", "nul \0 bell \a del \x7f\n<i>", "ä\x85\u2028ö"]
)
def test_a_log_without_escapes_is_as_one_with_them(text):
    plain, reset = (
        logs.Window(each.encode(), start=0, stop=1, total=1, missing=0, earlier=None)
        for each in (text, text + "\x1b[0m")
    )
    assert plain.html == reset.html and plain.text == reset.text


def test_a_search_begins_at_the_last_line_and_goes_back_by_links(taken, bob):
    """Count, next and previous, without a script."""
    printed(taken, b"".join(b"line %d%s\n" % (n, b" WARN: slow" if n % 10 == 3 else b"") for n in range(100)))
    html = search(bob, taken, "?q=warn")
    assert status(html) == "10 of 10 lines" and here(html) == "line 93 WARN: slow"
    assert html.count("<mark") == 10 and html.count('id="match"') == 1
    assert 'rel="next"' not in html
    previous = unescape(re.search(r'href="([^"]*)" rel="prev"', html)[1])
    assert previous.endswith("#match")
    html = search(bob, taken, previous.removesuffix("#match"))
    assert status(html) == "9 of 10 lines" and here(html) == "line 83 WARN: slow"
    onwards = unescape(re.search(r'href="([^"]*)" rel="next"', html)[1])
    assert here(search(bob, taken, onwards.removesuffix("#match"))) == "line 93 WARN: slow"


def test_it_finds_what_is_far_from_the_end_and_shows_what_came_next(taken, bob):
    data = lines(30_000)  # 390 kB: six pieces
    printed(taken, data)
    html = search(bob, taken, "?q=line+0001234")
    assert status(html) == "1 of 1 line" and here(html) == "line 0001234"
    assert "line 0001235" in html and "line 0001233" in html and "line 0029999" not in html
    across = PIECE_BYTES // 13  # the line that two pieces share
    assert here(search(bob, taken, f"?q={across:07}")) == f"line {across:07}"
    html = search(bob, taken, "?q=line+00&at=1")
    assert here(html) == "line 0020000", "of very many the last ones"
    assert status(html) == "1 of the last 10,000 lines"


def test_a_match_on_both_sides_of_a_gap_is_found(taken, bob):
    data = lines(1_600_000)
    printed(taken, data, but=(HEAD_BYTES, len(data) - PIECE_BYTES))
    for number in ("0000007", "1599999"):
        assert here(search(bob, taken, f"?q={number}")) == f"line {number}"
    assert status(search(bob, taken, "?q=0800000")) == "not found"


def test_it_searches_what_is_shown_not_what_was_overwritten(taken, bob):
    """Progress bars fold; colours do not cut a word in two."""
    printed(taken, b"epoch 1\r\x1b[2Kepoch 2\nval_\x1b[31mloss\x1b[0m=1\n")
    assert status(search(bob, taken, "?q=epoch+1")) == "not found"
    html = search(bob, taken, "?q=VAL_LOSS")
    assert (
        '<mark id="match" class="is-here">val_</mark><span class="ink-1"><mark>loss</mark></span>=1' in html
    )


@pytest.mark.parametrize(
    "query",
    ["?q=%25", "?q=_", "?q=%27+%22", "?q=(", "?q=%5C", "?q=%00", "?q=+", "?q=" + "x" * 10_000]
    + [f"?q=a&at={at}" for at in ("0", "-1", "x", "²", "9" * 18, "9" * 40)],
)
def test_whatever_is_searched_gives_a_page(taken, bob, query):
    """Bad input: % and _ and quotes are letters. TD-C3: an invalid place is said, and the page drawn without it."""
    printed(taken, b"100% _ ' \" ( \\ a\n")
    is_invalid = "&at=" in query and not query.endswith("&at=0")
    html = search(bob, taken, query, 400 if is_invalid else 200)
    assert ("Invalid at: “" in html) == is_invalid
    if query in ("?q=%00", "?q=+"):
        assert '<span role="status">' not in html, "nothing is asked for"
    else:
        assert status(html) == ("not found" if "xx" in query else "1 of 1 line")


def test_a_line_full_of_matches_is_marked_whole(taken):
    printed(taken, b"a" * 60_000)
    html = logs.search(taken, "a").html
    assert html.count("<mark") == 60_000


def test_a_log_without_anything_can_be_searched(taken, bob):
    assert status(search(bob, taken, "?q=x")) == "not found"


def test_the_search_box_of_the_trials_page_leads_to_the_log(taken, bob):
    printed(taken, b"hello\n")
    html = as_(bob).get(url_of(taken)).content.decode()
    assert f'action="{url_of(taken, "trial-log")}#match"' in html


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_colour_of_a_log_can_be_read(theme):
    """WCAG 1.4.3."""
    results = tokens(theme)
    for ink in ("--ansi-yellow", "--ansi-magenta", "--ansi-cyan"):
        assert contrast(results[ink], results["--sunken"]) >= 4.5, ink
        assert contrast(results[ink], results["--surface"]) >= 4.5, ink
