"""The charts of an experiment: the tab, one page and two files per chart, the sample behind them, and the filter."""

from __future__ import annotations

import csv
import io
import re
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from experiments.models import Experiment, Importance, Outcome, Point
from experiments.web.charts import brush
from experiments.web.charts.panels import PANELS
from experiments.web.charts.trial_sample import LATEST, MOST, Sampling, sample_of, spread_out
from tests.people import as_, end_all
from tests.web.trial.test_table import many


def address(experiment: Experiment, chart: str = "", kind: str = "") -> str:
    ids = ["lab", experiment.public_id]
    if not chart:
        return reverse("experiment-charts", args=ids)
    return reverse(f"experiment-chart-{kind}" if kind else "experiment-chart", args=[*ids, chart])


@pytest.fixture
def searched(running):
    """An experiment with 60 ended trials."""
    experiment = end_all(running(max_trials=100))
    many(experiment, 60, last=experiment.last_number)
    reporting = experiment.trials.filter(state="succeeded", number__lte=12)
    Point.objects.bulk_create(
        Point(trial=trial, name="accuracy", step=step, value=step / 9)
        for trial in reporting
        for step in range(5)
    )
    reporting.update(last_step=4, last_value=0.5)
    experiment.refresh_from_db()
    return experiment


def test_the_tab_shows_every_chart_with_what_and_how_many(searched, carol):
    """TD-C1: each panel has a title, a file for the drawing and one for its numbers, and a page with a table."""
    html = as_(carol).get(address(searched)).content.decode()
    for key in PANELS:
        assert f'id="{key}"' in html
        for link in (address(searched, key, "svg"), address(searched, key, "csv"), address(searched, key)):
            assert f'href="{link}' in html, link
    assert "accuracy by trial" in html and "trials with a value" in html
    assert html.count("<svg class=") > len(PANELS)


@pytest.mark.parametrize("chart", PANELS)
def test_a_chart_is_a_page_with_a_table_a_drawing_and_numbers(searched, carol, chart):
    """TD-C1"""
    if chart == "importance":
        Importance.objects.create(
            experiment=searched,
            epoch=0,
            succeeded_count=50,
            trial_count=50,
            shares={"lr": 0.9, "layers": 0.1},
        )
    client = as_(carol)
    html = client.get(address(searched, chart)).content.decode()
    assert 'id="data"' in html and "<table" in html
    svg = client.get(address(searched, chart, "svg"))
    assert svg["Content-Type"] == "image/svg+xml" and "attachment" in svg["Content-Disposition"]
    root = ElementTree.fromstring(svg.content)
    assert not root.findall(".//{http://www.w3.org/2000/svg}a") and "var(--" not in str(root.attrib)
    rows = list(csv.reader(io.StringIO(client.get(address(searched, chart, "csv")).content.decode())))
    assert len(rows) > 1 and len({len(row) for row in rows[:2]}) == 1


def test_times_in_the_data_of_a_chart_are_short_and_in_the_zone_of_the_reader(searched, carol):
    """TD-C6: to the second; the file has them in full."""
    started = searched.trials.filter(started_at__isnull=False).latest("started_at").started_at
    carol.time_zone = "Asia/Tokyo"
    carol.save(update_fields=["time_zone"])
    html = as_(carol).get(address(searched, "timeline")).content.decode()
    local = started.astimezone(ZoneInfo("Asia/Tokyo"))
    assert f">{local:%Y-%m-%d %H:%M:%S}</time></td>" in html and not re.search(
        r"<td[^>]*>[^<]*\+0\d:00<", html
    )


def test_charts_and_table_share_one_filter(searched, carol):
    """TD-C1: the query parameter `filter` is that of the filter language."""
    client = as_(carol)
    rows = csv.reader(
        io.StringIO(client.get(address(searched, "history", "csv") + "?filter=number<=12").content.decode())
    )
    assert sorted(int(row[0]) for row in list(rows)[1:])[-1] == 12
    html = client.get(address(searched) + "?filter=number<=12").content.decode()
    assert "Open in Trials" in html and "number&lt;=12" in html
    with CaptureQueriesContext(connection) as queries:
        client.get(address(searched) + "?filter=number<=12")
    assert not [each["sql"] for each in queries if '"experiments_trial"."params"' in each["sql"]]


def test_an_invalid_filter_or_axis_is_answered_with_a_sentence(searched, carol):
    """TD-C3: nothing in the address is silently ignored."""
    client = as_(carol)
    for query, sentence in (
        ("filter=lr>", "Character 4: "),
        ("state=happy", "Invalid state"),
        ("filter=nosuch>1", "nosuch"),
        ("axis=lr:upside", "Invalid axis"),
        ("cx=nosuch", "Invalid cx"),
        ("top=7", "Invalid top"),
        ("color=red", "Unknown parameter"),
    ):
        response = client.get(f"{address(searched)}?{query}")
        assert response.status_code == 400 and sentence in response.content.decode(), query
    assert client.get(address(searched, "history", "svg") + "?filter=lr>").status_code == 400
    assert client.get(address(searched, "nosuch")).status_code == 404


def test_a_fault_of_the_filter_has_its_place_and_leaves_the_last_valid_one(searched, carol):
    """TD-C3: as above the table: a caret below the fault, a correction to click, and the charts of the last filter."""
    client = as_(carol)
    response = client.get(address(searched), {"filter": "lrr<1", "last": "number<=12", "top": "10"})
    html = response.content.decode()
    assert response.status_code == 400 and "<mark>lrr</mark>" in html and "<mark>^^^</mark>" in html
    assert "did you mean “lr”?" in html and "Showing the trials for the last valid filter" in html
    assert re.search(r"<b class=\"num\">12 of \d+ trials</b>", html)
    assert html.count("ignored</h2>") == 0, "one place says it"
    refused = client.get(address(searched, "history", "csv"), {"filter": "lrr<1", "last": "number<=12"})
    assert refused.status_code == 400 and "did you mean “lr”?" in refused.content.decode()


def test_the_filter_line_of_charts_completes_and_swaps_the_view(searched, carol):
    """TD-C3"""
    html = as_(carol).get(address(searched) + "?top=10&axis=lr:flip").content.decode()
    complete = reverse("trials-complete", args=["lab", searched.public_id])
    assert f'hx-get="{complete}"' in html and 'hx-target="#view"' in html
    line = html[html.index('id="filter"') :]
    line = line[: line.index("</form>")]
    assert '<input type="hidden" name="top" value="10">' in line and 'value="lr:flip"' in line
    headers = {"HX-Request": "true", "HX-Target": "view"}
    swapped = as_(carol).get(address(searched) + "?top=&filter=number<=12", headers=headers)
    assert swapped["HX-Push-Url"] == address(searched) + "?filter=number%3C%3D12"
    assert 'id="panels"' in swapped.content.decode() and "<html" not in swapped.content.decode()


def test_a_chip_shows_the_charts_of_one_state(searched, carol):
    """TD-C1: charts and table share it, and so do the files."""
    client = as_(carol)
    html = client.get(address(searched) + "?filter=number<=30").content.decode()
    chips = re.findall(r'class="chip"\s+href="([^"]*)"[^>]*data-status="([a-z_]+)"', html)
    assert chips, re.findall(r"<nav class=.chips.*?</nav>", html, flags=re.S)
    urls = {state: url.replace("&amp;", "&") for url, state in chips}
    assert urls["failed"] == address(searched) + "?filter=number%3C%3D30&state=failed"
    html = client.get(urls["failed"]).content.decode()
    trials = reverse("experiment-trials", args=["lab", searched.public_id])
    assert f'href="{trials}?filter=number%3C%3D30&amp;state=failed"' in html
    rows = csv.reader(
        io.StringIO(client.get(address(searched, "history", "csv") + "?state=failed").content.decode())
    )
    assert {row[2] for row in list(rows)[1:]} == {"failed"}


@pytest.mark.parametrize(
    ("before", "low", "high", "picked", "after"),
    [
        ("", "0.001", "0.01", [], "lr>=0.001 lr<=0.01"),
        ("state:succeeded lr>=1e-3 lr<=1", "0.01", "", [], "state:succeeded lr>=0.01"),
        ("state:failed or value>1", "", "2", [], "(state:failed or value>1) lr<=2"),
        ("lr>=1", "", "", [], ""),
        ("lr in (a, b) value>1", "", "", ["c d", "e"], 'value>1 lr in ("c d", e)'),
        ("lrx>=1", "2", "", [], "lrx>=1 lr>=2"),
    ],
)
def test_a_range_of_an_axis_replaces_the_earlier_one_in_the_filter(before, low, high, picked, after):
    """TD-C1: a brush writes the filter."""
    assert brush.with_range(before, "lr", low, high, picked) == after


def test_the_form_of_an_axis_writes_the_filter(searched, carol):
    """TD-C1: without a script, too. The other options stay."""
    response = as_(carol).get(address(searched) + "?range=lr&min=0.001&max=&top=10&filter=state:succeeded")
    assert response.status_code == 302
    assert (
        response["Location"] == address(searched) + "?top=10&filter=state%3Asucceeded+lr%3E%3D0.001#parallel"
    )
    assert as_(carol).get(response["Location"].split("#")[0]).status_code == 200


@pytest.mark.parametrize("state", ["draft", "pending", "completed", "failed", "stopped"])
def test_charts_of_every_state_can_be_read(in_state, carol, state):
    experiment = in_state(state)
    for url in (address(experiment), *(address(experiment, chart) for chart in PANELS)):
        assert as_(carol).get(url).status_code == 200, url


def test_a_search_in_which_every_trial_failed_has_charts(running, carol):
    experiment = end_all(running(max_trials=3), Outcome(failure="exit_code", detail="boom", exit_code=1))
    html = as_(carol).get(address(experiment)).content.decode()
    assert "No values yet" in html and "Importance needs 10 succeeded trials" in html


def key_of(html: str, chart: str) -> list[str]:
    """Return the entries of the key below a chart."""
    panel = html[html.index(f'id="{chart}" aria-label=') :]
    key = re.search(r'<p class="key">(.*?)</p>', panel[: panel.index("</section>")], flags=re.S)
    entries = re.findall(r"<span[^>]*>(.*?)</span>", key[1], flags=re.S) if key else []
    return [re.sub(r"<[^>]*>", "", entry).strip() for entry in entries]


@pytest.mark.parametrize("page", ["experiment-trials", "experiment-charts"])
def test_a_filter_that_selects_nothing_says_which_condition_excludes_all(searched, carol, page):
    """TD-C3: with the number of trials without it, and a link."""
    url = reverse(page, args=["lab", searched.public_id])
    filter = "number<=12 value>1e6 state:succeeded"
    html = as_(carol).get(url, {"filter": filter}).content.decode()
    assert "No matching trials" in html and "<code>value&gt;1e6</code> matches no trial." in html
    link = re.search(r'href="([^"]*)">Without\s+this condition:\s+(\d+) trials</a>', html)
    assert link and html.count(">Without") == 1, "the others exclude nothing"
    assert link[1] == "?filter=number%3C%3D12+state%3Asucceeded"
    rows = as_(carol).get(address(searched, "history", "csv") + link[1]).content.decode().splitlines()
    assert len(rows) - 1 == int(link[2]) > 0
    html = as_(carol).get(url, {"filter": "number<=12 number>13"}).content.decode()
    assert "matches no trial" not in html and html.count(">Without") == 2, (
        "either excludes what the other selects"
    )
    assert 'class="exclusions"' not in as_(carol).get(url, {"filter": "value>1e6"}).content.decode()


def test_a_long_filter_that_selects_nothing_is_not_examined(searched, carol):
    """TD-C3: at most two queries for each of six conditions."""
    url = reverse("experiment-trials", args=["lab", searched.public_id])
    for count in (6, 7):
        terms = " ".join(["value>1e6", *(f"number<{99 + place}" for place in range(count - 1))])
        html = as_(carol).get(url, {"filter": terms}).content.decode()
        assert ("matches no trial" in html) == (count == 6)


BOOM = Outcome(failure="exit_code", detail="boom", exit_code=1)
KEYS = {
    "succeeded": {"history": ["Best so far", "Succeeded"], "timeline": ["Best"], "durations": ["Succeeded"]},
    "failed": {"history": ["Failed"], "timeline": ["Failed"], "durations": ["Failed"], "curves": []},
    "running": {"history": ["Running"], "timeline": ["Running"], "durations": []},
}


@pytest.mark.parametrize("state", KEYS)
def test_the_key_of_a_chart_lists_what_occurs_in_it(running, carol, state):
    """TD-C1: no entry for a state without a mark."""
    experiment = running(max_trials=3)
    if state != "running":
        end_all(experiment, BOOM if state == "failed" else None)
    html = as_(carol).get(address(experiment)).content.decode()
    assert {chart: key_of(html, chart) for chart in KEYS[state]} == KEYS[state]


def test_a_large_search_is_drawn_from_a_sample_that_keeps_the_best_and_the_latest(running):
    """TD-C1: beyond 2,000 trials a sample."""
    experiment = running(max_trials=5_000, taken=0)
    many(experiment, 4_000, last=experiment.last_number)
    Experiment.objects.filter(pk=experiment.pk).update(best_number=1_234, trace=[[17, 0.1], [1_234, 0.9]])
    experiment.refresh_from_db()
    latest = range(experiment.last_number - LATEST + 1, experiment.last_number + 1)
    dense, sample = sample_of(experiment, is_dense=True), sample_of(experiment)
    assert {row.number for row in sample.rows} < {row.number for row in dense.rows}
    for each, fewest, most in ((dense, 1_850, MOST), (sample, 1_000, 1_200)):
        numbers = [row.number for row in each.rows]
        assert fewest < len(numbers) <= most < each.total and not each.is_all
        assert {17, 1_234} <= set(numbers)
        assert set(latest) <= set(numbers)
        even = [row.number for row in each.rows if row.is_even]
        gaps = {b - a for a, b in zip(even, even[1:], strict=False)}
        assert max(gaps) - min(gaps) <= 1, "evenly spaced"
        dense_gap = experiment.last_number / (MOST - LATEST - 2)
        assert max(gaps) <= (1 if each is dense else 2) * dense_gap + 1, "as densely as the sample allows"


@pytest.mark.parametrize("filter", ["", "state:failed"])
def test_the_history_is_not_crowded_at_its_end(running, filter):
    """TD-C1: hundreds of the latest trials would share a pixel with the last of 100,000."""
    experiment = running(max_trials=9_000, taken=0)
    many(experiment, 6_000, last=experiment.last_number)
    Experiment.objects.filter(pk=experiment.pk).update(best_number=5_999, trace=[[17, 0.1], [5_999, 0.9]])
    experiment.refresh_from_db()
    from experiments.filters.trials import TrialFields

    condition = TrialFields.of(experiment).condition(filter) if filter else None
    sample = sample_of(experiment, condition, is_dense=True)
    rows = spread_out(experiment, sample)
    numbers = [row.number for row in rows]
    assert numbers[-1] == sample.rows[-1].number and numbers == sorted(numbers)
    if filter:
        assert sample.is_all and rows == sample.rows, "all trials are drawn"
    else:
        assert {17, 5_999} <= set(numbers)
        gaps = [b - a for a, b in zip(numbers, numbers[1:], strict=False)]
        assert gaps.count(1) <= 6, "next to the best ones and to the last"
        assert len(rows) > MOST - LATEST - 10


def test_the_sample_is_the_same_whether_or_not_the_history_was_drawn_before(running):
    """Charts of one page share what they read."""
    experiment = running(max_trials=5_000, taken=0)
    many(experiment, 4_000, last=experiment.last_number)
    experiment.refresh_from_db()
    from experiments.filters.trials import TrialFields

    for condition in (None, TrialFields.of(experiment).condition("state:succeeded")):
        shared = Sampling(experiment, condition)
        shared.sample(is_dense=True)
        assert shared.sample() == sample_of(experiment, condition)


def test_a_filter_with_many_matches_is_sampled_and_with_few_is_complete(running):
    experiment = running(max_trials=9_000, taken=0)
    many(experiment, 6_000, last=experiment.last_number)
    experiment.refresh_from_db()
    from experiments.filters.trials import TrialFields

    fields = TrialFields.of(experiment)
    few = sample_of(experiment, fields.condition("state:failed"))
    assert few.is_all and len(few.rows) == few.total == 600
    many_of = sample_of(experiment, fields.condition("state:succeeded"))
    dense = sample_of(experiment, fields.condition("state:succeeded"), is_dense=True)
    assert many_of.total == 5_400 and 1_000 < len(many_of.rows) <= 1_200
    assert 1_850 < len(dense.rows) <= MOST
    assert {row.state for row in dense.rows} == {"succeeded"}


def test_charts_of_a_filter_do_not_count_more_trials_than_the_table(running, carol, monkeypatch):
    """TD-C1: beyond the limit of the table's own count, they say "2,100+"."""
    experiment = running(max_trials=9_000, taken=0)
    many(experiment, 2_600, last=experiment.last_number)
    monkeypatch.setattr("experiments.web.trial.trial_query.EXACT_TO", 2_100)
    url = address(experiment, "history")
    with CaptureQueriesContext(connection) as queries:
        html = as_(carol).get(f"{url}?filter=state:succeeded number>0").content.decode()
    shown = re.search(r"accuracy by trial, ([\d,]+) of 2,100\+ trials", html)
    assert shown and int(shown[1].replace(",", "")) <= MOST
    counts = [
        each["sql"] for each in queries if "COUNT(" in each["sql"] and "experiments_trial" in each["sql"]
    ]
    few = ("LIMIT 2101", '"number" IN (', '"number" = ANY(')  # counted up to the limit, or of a sample
    assert counts and all(any(text in sql for text in few) for sql in counts)
    response = as_(carol).get(f"{address(experiment, 'history', 'csv')}?filter=state:succeeded number>0")
    assert "-of-2100+-trials.csv" in response["Content-Disposition"]


@pytest.mark.parametrize("chart", ["edf", "durations", "timeline"])
def test_charts_without_parameters_do_not_read_them(searched, carol, chart):
    """TD-C1: reading and parsing them would double the time of these charts."""
    with CaptureQueriesContext(connection) as queries:
        assert as_(carol).get(address(searched, chart)).status_code == 200
    read = [each["sql"] for each in queries if '"experiments_trial"."duration_s"' in each["sql"]]
    assert read and not any('"experiments_trial"."params"' in sql for sql in read)


def test_axes_are_moved_to_the_front_by_links(searched, carol):
    """TD-C1: also without a script; the latest one is leftmost, in the drawing and in its data."""
    client = as_(carol)

    def columns(query: str) -> list[str]:
        content = client.get(address(searched, "parallel", "csv") + query).content.decode()
        return next(csv.reader(io.StringIO(content)))[2:]

    first, second = columns("")
    html = client.get(address(searched)).content.decode()
    assert f'href="?axis={second}%3Afirst#parallel"' in html and f"axis={first}%3Afirst" not in html
    assert columns(f"?axis={second}:first") == [second, first]
    html = client.get(address(searched) + f"?axis={second}:first&axis={first}:flip").content.decode()
    link = f"?axis={second}%3Afirst&amp;axis={first}%3Aflip&amp;axis={first}%3Afirst#parallel"
    assert link in html
    assert columns(f"?axis={second}:first&axis={first}:first") == [first, second]


def test_a_file_of_a_part_of_the_trials_says_so_in_its_name(running, carol):
    """TD-C1: and the page links the file of all of them."""
    experiment = running(max_trials=5_000, taken=0)
    many(experiment, 2_400, last=experiment.last_number)
    experiment.refresh_from_db()
    client = as_(carol)
    total = sample_of(experiment).total
    for chart in ("history", "parallel", "durations"):
        response = client.get(address(experiment, chart, "csv"))
        rows = list(csv.reader(io.StringIO(response.content.decode())))
        part = re.search(rf"-{chart}-(\d+)-of-{total}-trials.csv", response["Content-Disposition"])
        assert part and int(part[1]) < total, chart
        if chart != "durations":
            assert int(part[1]) >= len(rows) - 1
    whole = client.get(address(experiment, "history", "csv") + "?filter=number<=12")
    assert whole["Content-Disposition"].endswith('-history.csv"')
    html = client.get(address(experiment, "history") + "?state=succeeded").content.decode()
    trials = reverse("trials-csv", args=["lab", experiment.public_id])
    assert f'href="{trials}?state=succeeded">all trials as .csv' in html


def test_the_tab_costs_the_same_number_of_queries_for_any_size(running, carol):
    experiment = running(max_trials=9_000, taken=0)
    client, counts = as_(carol), []
    for _ in range(2):
        many(experiment, 2_500, last=experiment.last_number)
        experiment.refresh_from_db()
        client.get(address(experiment))  # sessions and content types
        with experiment.locked():
            experiment.updated_at = experiment.updated_at  # a new version: nothing comes from the cache
        with CaptureQueriesContext(connection) as capture:
            assert client.get(address(experiment)).status_code == 200
        counts.append(len(capture))
    assert counts[0] == counts[1]


def test_nothing_new_costs_a_304(searched, carol):
    headers = {"HX-Request": "true", "HX-Target": "panels"}
    client = as_(carol)
    first = client.get(address(searched), headers=headers)
    assert first.status_code == 200 and 'id="panels"' in first.content.decode()
    again = client.get(address(searched), headers=headers | {"If-None-Match": first["ETag"]})
    assert again.status_code == 304
    end_all(searched)


def test_each_chart_has_one_tab_stop_and_every_mark_its_words(searched, carol):
    """TD-C1: the arrow keys go through the marks; hover and focus show number, value and parameters."""
    html = as_(carol).get(address(searched)).content.decode()
    for drawing in re.findall(r'<svg class="chart.*?</svg>', html, flags=re.S):
        links = re.findall(r"<a [^>]*>", drawing)
        if links:
            assert 'role="group"' in drawing[:200]
            assert sum('tabindex="-1"' not in link for link in links) == 1, drawing[:200]
            assert len(re.findall(r"<title>#", drawing)) >= 1
    assert re.search(r"<title>#\d+, 0\.\d+; lr ", html)


def test_values_that_differ_in_late_digits_differ_in_every_chart_and_table(running, carol):
    """TD-V10: in tooltips, descriptions, the label of the best and the data."""
    experiment = end_all(running(max_trials=8))
    values = [0.99876103 + number / 1e8 for number in range(1, 9)]
    for trial, number in zip(experiment.trials.order_by("number"), values, strict=False):
        experiment.trials.filter(pk=trial.pk).update(value=number, result=number, state="succeeded")
    shown = sorted(experiment.trials.values_list("value", flat=True))
    assert len(shown) > 1
    trace = [[number, value] for number, value in enumerate(shown, start=1)]
    Experiment.objects.filter(pk=experiment.pk).update(best_value=shown[-1], trace=trace)
    client = as_(carol)
    for chart in ("history", "parallel", "slices"):
        html = client.get(address(experiment, chart)).content.decode()
        for number in shown:
            assert f"{number:.8f}" in html, (chart, number)
        assert not re.search(r"\b0\.9988\b|\b0\.998761\b", html), chart


def test_a_contour_begins_with_parameters_that_every_trial_has(draft, carol):
    """TD-C1: most trials have no value of a parameter of a nested choice."""
    branches = [{"_name": "sgd", "momentum": {"_type": "uniform", "_value": [0, 1]}}, {"_name": "adam"}]
    space = {
        "lr": {"_type": "loguniform", "_value": [1e-5, 1]},
        "optimizer": {"_type": "choice", "_value": branches},
        "layers": {"_type": "randint", "_value": [1, 4]},
    }
    experiment = draft(space_document=space)
    many(experiment, 3)
    html = as_(carol).get(reverse("experiment-charts", args=["lab", experiment.public_id])).content.decode()
    pair = html.split('aria-label="Axes of the contour"')[1].split("</form>")[0]
    assert re.findall(r"<option selected>([^<]*)", pair) == ["lr", "layers"]
