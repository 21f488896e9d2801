"""What templates say things with: numbers, times, sort links, form controls."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django import forms
from django.template import Context, Template, defaultfilters
from django.test import RequestFactory
from django.utils import timezone
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString

from experiments import database_clock, messages
from experiments.models import Experiment
from experiments.scheduler.estimate import Estimate
from experiments.templatetags import ui
from experiments.web.ui import estimates

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("seconds", "message"),
    [
        (None, "—"),
        (0, "0 s"),
        (1.84, "1.8 s"),
        (9.96, "10 s"),
        (59.6, "1 m"),
        (478, "7 m 58 s"),
        (3599.7, "1 h"),
        (4 * 3600 + 36 * 60, "4 h 36 m"),
        (31 * 3600 + 300, "31 h 05 m"),
        (52 * 3600, "2 d 4 h"),
        (-0.2, "0 s"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds, message):
    assert ui.duration(seconds) == message
    if seconds is not None:
        assert ui.duration(timedelta(seconds=seconds)) == message


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (None, "—"),
        (0.8147, "0.8147"),
        (0.5, "0.5000"),
        (0.00312, "3.12e-3"),
        (-1e-9, "-1.00e-9"),
        (0.0, "0"),
        (-0.0, "0"),
        (347.0, "347"),
        (-1.0, "-1"),
        (347.25, "347.2500"),
        (1234567.0, "1234567"),
        (1e20, "1.00e20"),
        (1234567.5, "1.23e6"),
        (10**18, "1000000000000000000"),
        (128, "128"),
        (True, "true"),
        ([1, "a ü", None], '[1, "a ü", null]'),
        ("sgd", "sgd"),
        (float("nan"), "NaN"),
        (float("-inf"), "-∞"),
    ],
)
def test_a_value_alone_has_four_places_or_none_and_never_loses_a_small_one(number, message):
    assert ui.value(number) == message


def test_a_column_has_one_precision():
    assert [ui.value(item, 4) for item in (1.0, 0.5, 0.0, 3, 1e-9)] == [
        "1.0000",
        "0.5000",
        "0.0000",
        "3",
        "1.00e-9",
    ]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.99876103, 0.99876944, 0.5], ["0.99876", "0.99877", "0.50000"]),
        ([0.99876103, 0.99876104], ["0.99876103", "0.99876104"]),
        ([0.1 + 0.2, 0.3, 0.5], ["0.3000", "0.3000", "0.5000"]),
        ([0.25, None, "NaN"], ["0.2500", "—", "NaN"]),
        ([347.0, 1e7], ["347", "10000000"]),
        ([9007199254740992.0, 9007199254740994.0], ["9007199254740992", "9007199254740994"]),
        ([1.00001e20, 1e20], ["1.00001e20", "1.00000e20"]),
        ([0.009999, 0.0100001], ["9.999e-3", "0.01000"]),
        ([1234567.25, 1234569.5], ["1.234567e6", "1.234570e6"]),
        ([123456789.001, 123456789.002], ["123456789.001", "123456789.002"]),
        ([-0.000123456001, -0.000123456002], ["-1.23456001e-4", "-1.23456002e-4"]),
        ([0.998761030001, 0.998761030002], ["0.998761030001", "0.998761030002"]),
        ([1e-12, 2.5e15 + 0.5], ["1.00e-12", "2.50e15"]),
        ([2.1001e-5, 2.1002e-5], ["2.1001e-5", "2.1002e-5"]),
        ([float("nan"), float("inf"), 1.5], ["NaN", "∞", "1.5000"]),
    ],
)
def test_a_column_shows_as_many_digits_as_its_spread_needs(values, texts):
    """TD-V10"""
    decimals = messages.decimals_of(values)
    assert [ui.value(number, decimals) for number in values] == texts


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.99876103, "0.99876103"),
        (0.5, "0.5000"),
        (1 / 3, "0.33333333"),
        (12.0, "12"),
        (7.539e-05, "7.539e-5"),
        (0.1000000001, "0.1000000001"),
        (123456789.006, "123456789.006"),
        (0.1 + 0.2, "0.3000"),
        (None, "—"),
    ],
)
def test_a_number_that_stands_alone_is_shown_in_full(number, text):
    """TD-V10: up to eight decimals, or twelve digits."""
    assert messages.precise(number) == text


@pytest.mark.parametrize(
    ("trace", "text"),
    [
        ([[1, 0.98222222222]], "0.9822"),
        ([[1, 0.5], [7, 0.98222222222]], "0.9822"),
        ([[1, 0.98222111111], [7, 0.98222222222]], "0.982222"),
        ([[1, 2.5], [7, 3.0]], "3"),
        ([[1, 4.0], [7, 12345678.0]], "12345678"),
        ([], "—"),
    ],
)
def test_the_best_has_as_many_decimals_as_tell_it_from_the_earlier_bests(trace, text):
    """TD-V10: charts, facts and the wall alike."""
    best = Experiment(trace=trace, best_value=trace[-1][1] if trace else None)
    assert messages.best_value(best) == text


@pytest.mark.parametrize(
    ("size", "message"),
    [(None, "—"), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_600, "1.0 MB"), (2.1e9, "2.1 GB")],
)
def test_a_size_is_said_in_powers_of_1000(size, message):
    assert ui.bytes_(size) == message


def test_a_number_comes_with_the_right_word():
    assert ui.plural(1, "trial") == "1 trial"
    assert ui.plural(0, "trial") == "0 trials"
    assert ui.plural(2914, "entry,entries") == "2,914 entries"


def test_times_are_short_in_sight_and_whole_in_the_title(settings):
    settings.TIME_ZONE = "UTC"
    now = timezone.now()
    assert ">41 m ago</time>" in ui.ago(now - timedelta(minutes=41))
    assert ">now</time>" in ui.ago(now + timedelta(seconds=1)), "another machine's clock"
    long_ago = ui.clock(datetime(2020, 2, 3, 4, 5, tzinfo=UTC))
    assert ">3 Feb 2020</time>" in long_ago and 'title="2020-02-03 04:05:00 UTC"' in long_ago


def test_a_state_is_a_word_with_its_glyph():
    """PAI-S2: the word stands beside the glyph, in the words of the product."""
    message = ui.status("early_stopped")
    assert 'data-status="early_stopped"' in message
    assert "glyphs.svg#g-early_stopped" in message
    assert message.endswith("</svg>Stopped early</span>")


def test_nothing_that_a_user_wrote_becomes_html():
    assert "<script>" not in ui.status("<script>", "<script>")
    assert "<script>" not in ui.meter(1, 2, "<script>")


def sort(query: str, **context: object) -> str:
    request = RequestFactory().get("/list" + query)
    template = Template('{% load ui %}{% sort_head "Best" "best" num=True first="-" %}')
    return template.render(Context({"request": request, **context}))


def test_a_head_sorts_turns_and_keeps_the_filters_but_not_the_page():
    """PAI-F1: filters survive sorting."""
    fresh = sort("?q=lr%26x&status=failed&page=3&after=9")
    assert 'href="?q=lr%26x&amp;status=failed&amp;sort=-best"' in fresh
    assert "aria-sort" not in fresh
    falling = sort("?sort=-best")
    assert 'aria-sort="descending"' in falling and 'href="?sort=best"' in falling
    assert 'aria-sort="ascending"' in sort("?sort=best")
    assert 'aria-sort="descending"' in sort("", sort="-best"), "the view's default order"


class Form(forms.Form):
    name = forms.CharField(help_text="Need not be unique.")
    max_trials = forms.IntegerField(min_value=1)


def test_a_refused_field_says_why_and_its_control_points_at_the_sentence():
    """PAI-M3: refused field by field, in words that a screen reader finds."""
    form = Form({"name": "", "max_trials": "0"})
    html = Template('{% include "components/form/_field.html" with field=form.name %}').render(
        Context({"form": form})
    )
    assert 'aria-invalid="true"' in html
    described = html.split('aria-describedby="')[1].split('"')[0].split()
    assert described
    for target in described:
        assert f'id="{target}"' in html
    assert "Required." in html
    summary = Template('{% include "components/form/_errors.html" %}').render(Context({"form": form}))
    assert "Fix 2 fields to save" in summary and 'href="#id_max_trials"' in summary


def test_a_range_that_reads_the_same_at_both_ends_is_written_once():
    """TD-D7, TD-X4"""
    assert messages.duration_range((30, 7200)) == "30 s – 2 h"
    assert messages.duration_range((61, 62)) == "1 m"


DAY_S = 86_400.0


@pytest.mark.parametrize(
    ("end_s", "ends", "note", "short"),
    [
        ((60, 600), "in 1 m to 10 m", "", "1 m – 10 m"),
        ((2 * DAY_S, 300 * DAY_S), None, "in 2 d to 300 d", "2 d – 300 d"),
        ((300 * DAY_S, 400 * DAY_S), "in 300 d to over a year", "", "300 d – over a year"),
        ((400 * DAY_S, 9e15), "in over a year", "", "over a year"),  # 9e15 s is beyond every calendar
    ],
)
def test_an_estimate_of_more_than_a_year_is_no_number(end_s, ends, note, short):
    """TD-C2: noise that looks exact."""
    estimate = Estimate(end_s=end_s)
    shown = estimates.ends(estimate, timezone.now())
    assert shown == ends if ends else "–" in shown
    assert estimates.ends_in(estimate) == note
    assert ui.end_range(end_s) == short


@pytest.mark.parametrize(
    ("end_s", "ends"),
    [
        ((3_600, 7_200), "21:45–22:45"),
        ((20_000, 25_000), "Tue 02:18–03:41"),  # the same UTC day as now
        ((3_600, 20_000), "21:45–Tue 02:18"),
        ((100_000, 200_000), "Wed 00:31–Thu 04:18"),
        ((10 * DAY_S, 10 * DAY_S + 3_600), "about 10 Dec"),
        ((10 * DAY_S, 10 * DAY_S + 4 * 3_600), "10 Dec–11 Dec"),  # two days there, one in UTC
    ],
)
def test_the_day_of_a_range_is_written_once_and_is_the_readers(end_s, ends, monkeypatch):
    """TD-C2, TD-C6"""
    now = datetime(2026, 11, 30, 15, 0, tzinfo=UTC)
    monkeypatch.setattr(database_clock, "now", lambda: now)
    with timezone.override("Asia/Kathmandu"):
        shown = estimates.ends(Estimate(end_s=end_s), now)
    assert re.sub("<[^>]*>", "", str(shown)) == ends


@pytest.mark.parametrize(
    "text", ["", "a" * 9, "a" * 10, "a" * 11, "<b>&amp;", "é" * 11, "e\u0301" * 11, 12345678901]
)
@pytest.mark.parametrize("length", [10, 3])
def test_text_is_cut_as_django_cuts_it(text, length):
    context = Context({"text": text, "safe": SafeString(text), "length": length})
    own = Template("{{ text|truncatechars:length }} {{ safe|truncatechars:length }}").render(context)
    assert own == " ".join(
        conditional_escape(defaultfilters.truncatechars(each, length)) for each in (text, SafeString(text))
    )
