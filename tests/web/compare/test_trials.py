"""Trials side by side: rows, deltas, curves, files, and what a reader may see."""

from __future__ import annotations

import csv
import io
import re
from urllib.parse import urlencode

import pytest
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from experiments.models import LogPiece, Outcome, Point, Revision, Trial
from experiments.web.compare.rows import number_row
from tests.people import as_, look_at
from tests.web.files import leave


def page(user, experiment, query, **extra):
    """The answer of the page; `query` are numbers, or the whole query."""
    query = query if isinstance(query, str) else urlencode({"trial": query, **extra}, doseq=True)
    return as_(user).get(f"{reverse('trials-compare', args=['lab', experiment.public_id])}?{query}")


def row(answer, label: str) -> list[str]:
    """The cells of a row as text: value and delta apart by a space."""
    pattern = rf'<th scope="row" title="{re.escape(label)}">.*?</tr>'
    markup = re.search(pattern, answer.content.decode(), re.S)[0]
    cells = re.findall(r"<td.*?</td>", markup, re.S)
    return [" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in cells]


@pytest.fixture
def pair(running):
    """Two trials with values: 1 has 0.9 after three steps, 2 has 0.8."""
    experiment = running(taken=2, direction="maximize")
    for number, (value, lr, layers) in {1: (0.9, 0.01, 2), 2: (0.8, 0.05, 3)}.items():
        trial = experiment.trials.get(number=number)
        Trial.objects.filter(pk=trial.pk).update(
            params={"lr": lr, "layers": layers}, last_step=3, last_value=value, started_at=timezone.now()
        )
        Point.objects.bulk_create(
            Point(
                trial=trial, name=name, step=step, value=value * step / 3 if name == "accuracy" else 1 / step
            )
            for name in ("accuracy", "train_loss")
            for step in (1, 2, 3)
        )
        trial.refresh_from_db()
        trial.settle(Outcome(value=value, exit_code=0, final_metrics={"latency": 4.0 + number}))
    return look_at(experiment)


def test_it_shows_what_differs_with_deltas_to_the_baseline(pair, carol):
    """TD-C5: a difference on linear scales, a factor on logarithmic ones; green and red only by the objective."""
    answer = page(carol, pair, [1, 2])
    html = answer.content.decode()
    assert answer.status_code == 200
    assert row(answer, "accuracy") == ["0.9000", "0.8000 −0.1000"]
    assert row(answer, "lr") == ["0.0100", "0.0500 ×5"]
    assert row(answer, "layers") == ["2", "3 +1"]
    assert row(answer, "latency") == ["5", "6 +1"]
    assert '<span class="delta" data-role="bad">−0.1000</span>' in html
    assert '<span class="delta">+1</span>' in html, "no direction is known for the latency"
    assert re.search(r'class="won"\s*>0.9000<', html)


def test_equal_rows_are_left_out_until_all_are_wanted(pair, carol):
    """TD-C5: differences only, and a link to all."""
    html = page(carol, pair, [1, 2]).content.decode()
    assert 'title="Worker"' not in html and "Worker" in html.split("equal:")[1]
    assert 'title="Worker"' in page(carol, pair, [1, 2], rows="all").content.decode()


def test_the_baseline_can_be_chosen_and_a_column_removed(pair, carol):
    """TD-C5: deltas to a chosen baseline, which is the first column."""
    answer = page(carol, pair, [1, 2], base=2)
    assert row(answer, "accuracy") == ["0.8000", "0.9000 +0.1000"]
    assert "?trial=1&amp;trial=2&amp;base=1" in answer.content.decode()
    assert 'href="?trial=1" aria-label="Remove #2"' in answer.content.decode()


def test_the_curves_of_all_metrics_lie_over_each_other(pair, carol):
    """TD-C5: the objective first, one line per trial, and the data as a table."""
    html = page(carol, pair, [1, 2]).content.decode()
    assert re.findall(r'aria-label="(\w+ by step)"', html) == ["accuracy by step", "train_loss by step"]
    assert html.count('class="cat-line-1"') == 6 and html.count('class="cat-line-2"') == 6, "for three widths"
    data = page(carol, pair, [1, 2], show="data").content.decode()
    assert "0.6" in data and "<figure" not in data


def test_curves_lie_over_each_other_by_time(pair, carol):
    """TD-C5: seconds since the start of each trial; what has no time is named, and the choice is in the URL."""
    html = page(carol, pair, [1, 2]).content.decode()
    assert "step only: these results have no timestamps." in html and ">Time<" not in html
    assert "accuracy by step" in page(carol, pair, [1, 2], by="time").content.decode(), "there are no times"
    Point.objects.filter(trial__number=2).update(elapsed_s=F("step") * 100.0)
    html = page(carol, pair, [1, 2]).content.decode()
    assert 'href="?trial=1&amp;trial=2&amp;by=time">Time</a>' in html and "accuracy by step" in html
    html = page(carol, pair, [1, 2], by="time", show="data").content.decode()
    assert "accuracy by time" in html and "train_loss by time" in html and "Minutes" in html
    assert "Not drawn, no timestamps: #1" in html and "<td>#1</td>" not in html
    cells = re.findall(r'<td>#2</td><td class="num">([\d.]+)</td>', html)
    assert cells[:3] == ["1.6667", "3.3333", "5"]
    assert 'name="by" value="time"' in html, "adding a trial keeps the axis"
    assert page(carol, pair, [1, 2], by="epoch").status_code == 400
    url = reverse("trials-compare-chart-csv", args=["lab", pair.public_id, "curve-0"])
    lines = as_(carol).get(f"{url}?trial=1&trial=2&by=time").content.decode().splitlines()
    assert lines[0] == "Line,Minutes,accuracy" and lines[1].startswith("#2,1.666667,")


def test_a_long_curve_is_thinned_and_keeps_its_end(pair, carol):
    """TD-C5: about 120 points, whatever was reported; the page says so."""
    trial = pair.trials.get(number=1)
    Point.objects.bulk_create(
        Point(trial=trial, name="accuracy", step=step, value=step) for step in range(4, 3001)
    )
    answer = page(carol, pair, [1, 2], show="data")
    steps = re.findall(r'<td>#1</td><td class="num">([\d.]+)</td>', answer.content.decode())
    assert 100 < len(steps) < 250 and "3000" in steps
    assert "Long curves are downsampled" in answer.content.decode()


def test_trials_of_other_experiments_are_compared_by_their_ids(pair, running, carol):
    """TD-C5: trials of one workspace, whichever experiments they are of."""
    other = running(name="second", taken=1)
    answer = page(carol, pair, ["1", f"{other.public_id}-1"])
    assert answer.status_code == 200
    assert row(answer, "Experiment") == ["first", "second"]


@pytest.mark.parametrize(
    ("trials", "sentence"),
    [
        ([1], "1 trial is selected. Select 2 to 50."),
        (range(1, 52), "51 trials are selected. Select at most 50"),
        ([1, 2, 999], "No trial “999” in this workspace"),
        ([1, "nosuchid-1"], "No trial “nosuchid-1” in this workspace"),
        (["x", "-1", "1-", "1e3", "٣", "1" * 40, "a\0-1"], "No trial "),
    ],
)
def test_a_selection_that_cannot_be_compared_gets_a_sentence(pair, carol, trials, sentence):
    """TD-C5, TD-C3: too few, too many, unknown."""
    answer = page(carol, pair, list(trials))
    assert answer.status_code == 400
    assert sentence in answer.content.decode()


def test_a_baseline_that_is_not_selected_gets_a_sentence(pair, carol):
    """TD-C5, TD-C3."""
    answer = page(carol, pair, [1, 2], base="7")
    assert answer.status_code == 400 and "Invalid base" in answer.content.decode()


def test_without_a_selection_it_says_how_to_select(pair, carol):
    """TD-C5: an empty page with the next step."""
    answer = page(carol, pair, "")
    assert answer.status_code == 200 and "Nothing to compare yet" in answer.content.decode()


def test_a_private_trial_is_missing_for_others(pair, running, bob, carol, alice):
    """TD-C5: what a reader may not see does not exist in a comparison either. PAI-L2."""
    secret = running(name="secret plan", taken=1)
    secret.describe(by=alice, visibility="private")
    for reader, status in ((alice, 200), (bob, 400), (carol, 400)):
        answer = page(reader, pair, ["1", "2", f"{secret.public_id}-1"])
        assert answer.status_code == status
        assert ("secret plan" in answer.content.decode()) == (status == 200)


def test_a_trial_of_another_workspace_is_missing(pair, dave, carol, alice):
    """TD-C5: mixed workspaces are refused with a sentence, even to members of both."""
    from experiments.models import Experiment, Workspace
    from tests.people import make_settings

    elsewhere = Workspace.open("elsewhere", name="Elsewhere", owner=alice)
    other = Experiment.draft(elsewhere, by=alice, name="other", settings=make_settings())
    answer = page(alice, pair, ["1", f"{other.public_id}-1"])
    assert answer.status_code == 400 and "in this workspace" in answer.content.decode()


def test_settings_that_differ_between_revisions_are_shown(pair, carol, alice):
    """TD-C5: a settings diff, a command by line."""
    second = pair.trials.get(number=2)
    document = {**pair.revision.document, "command": "python train.py\npython eval.py", "concurrency": 1}
    revision = Revision.objects.create(experiment=pair, number=2, document=document, by=alice)
    Trial.objects.filter(pk=second.pk).update(revision=revision)
    answer = page(carol, pair, [1, 2])
    assert row(answer, "Concurrency") == ["2", "1"]
    assert '"add"\n>+ python eval.py' in answer.content.decode()


def test_replicates_show_their_mean_and_spread(pair, carol):
    """TD-C5: the spread over trials with the same values."""
    first = pair.trials.get(number=1)
    for number, value in ((11, 0.88), (12, 0.95)):
        Trial.objects.create(
            experiment=pair,
            revision=first.revision,
            number=number,
            params=first.params,
            values_digest=first.values_digest,
            state="succeeded",
            value=value,
        )
    Trial.objects.filter(number=2).update(values_digest="another")
    answer = page(carol, pair, [1, 2])
    assert row(answer, "Mean of replicates")[0] == "0.9100"
    assert row(answer, "Spread") == ["± 0.0361, 0.8800 to 0.9500 (3)", "1 result"]


def test_logs_and_files_are_side_by_side(pair, carol):
    """TD-C5: the last lines of each log, one file of each trial."""
    for number in (1, 2):
        trial = pair.trials.get(number=number)
        data = "".join(f"line {line} of {number}\n" for line in range(9)).encode()
        LogPiece.objects.create(trial=trial, offset=0, size=len(data), data=data)
        leave(trial, "confusion.png", b"\x89PNG\r\n\x1a\n")
    leave(pair.trials.get(number=1), "notes.txt", b"x")
    html = page(carol, pair, [1, 2]).content.decode()
    assert "line 8 of 1" in html and "line 3 of 2" not in html
    assert html.count('alt="confusion.png of #') == 2
    text = page(carol, pair, [1, 2], file="notes.txt").content.decode()
    assert "No such file." in text and 'alt="' not in text
    assert page(carol, pair, [1, 2], file="nowhere").status_code == 400


def test_the_number_of_queries_does_not_depend_on_the_number_of_trials(
    pair, carol, django_assert_num_queries
):
    """TD-C5: bounded queries."""
    first = pair.trials.get(number=1)
    Trial.objects.bulk_create(
        Trial(
            experiment=pair,
            revision=first.revision,
            number=number,
            params=first.params,
            values_digest="d",
            state="succeeded",
            value=number / 100,
            last_step=2,
        )
        for number in range(100, 148)
    )
    more = list(pair.trials.filter(number__gte=100))
    Point.objects.bulk_create(
        Point(trial=trial, name="accuracy", step=step, value=step) for trial in more for step in (1, 2)
    )
    client, url = as_(carol), reverse("trials-compare", args=["lab", pair.public_id])
    with django_assert_num_queries(11) as few:
        client.get(f"{url}?trial=1&trial=2")
    with django_assert_num_queries(len(few)):
        answer = client.get(url + "?" + urlencode({"trial": [1, 2, *(t.number for t in more)]}, doseq=True))
    assert answer.status_code == 200


def test_the_table_comes_as_csv_unrounded(pair, carol):
    """TD-C5, TD-X6: every table is a file too; a text that looks like a formula stays a text."""
    Trial.objects.filter(number=2).update(params={"lr": 0.123456789, "layers": "=1+1"})
    url = reverse("trials-compare-csv", args=["lab", pair.public_id])
    answer = as_(carol).get(f"{url}?trial=1&trial=2")
    head, *rows = csv.reader(io.StringIO(answer.content.decode()))
    assert answer["Content-Type"].startswith("text/csv")
    assert [record[0] for record in rows] == ["1", "2"]
    assert rows[1][head.index("Parameters: lr")] == "0.123456789"
    assert rows[1][head.index("Parameters: layers")] == "'=1+1"


def test_a_viewer_ticks_rows_and_compares_them(pair, carol):
    """TD-C5: from the ticks of the table of trials."""
    html = as_(carol).get(reverse("experiment-trials", args=["lab", pair.public_id])).content.decode()
    assert f'formaction="{reverse("trials-compare", args=["lab", pair.public_id])}"' in html
    assert 'aria-label="Select trial 1"' in html and "Rerun failed" not in html


def test_a_value_without_a_result_is_marked_and_never_the_best(pair, carol):
    """TD-C5, TD-V2: the value of a running trial is one so far, also where it is better than every result."""
    running = pair.trials.get(number=3)
    Trial.objects.filter(pk=running.pk).update(state="running", last_value=0.99, last_step=3)
    answer = page(carol, pair, [2, 1, running.number])
    assert row(answer, "accuracy")[1:] == ["0.9000 +0.1000", "0.9900 so far +0.1900"]
    assert re.findall(r'class="won"\s*>([^<]+)<', answer.content.decode())[0] == "0.9000"


def test_each_chart_is_a_file_and_the_table_is_json(pair, carol):
    """TD-C5, TD-X6: .svg and .csv of each chart; numbers in JSON are numbers."""
    base = reverse("trials-compare", args=["lab", pair.public_id])
    answer = page(carol, pair, [1, 2], base=2)
    for kind in ("svg", "csv"):
        assert f"{base}curve-0.{kind}?trial=1&amp;trial=2&amp;base=2" in answer.content.decode()
    client = as_(carol)
    drawn = client.get(f"{base}curve-0.svg?trial=1&trial=2")
    assert drawn["Content-Type"] == "image/svg+xml" and drawn.content.startswith(b"<svg")
    lines = list(csv.reader(io.StringIO(client.get(f"{base}curve-0.csv?trial=1&trial=2").content.decode())))
    assert lines[0] == ["Line", "Step", "accuracy"] and lines[3] == ["#1", "3", "0.9"]
    assert client.get(f"{base}curve-9.svg?trial=1&trial=2").status_code == 404
    address = reverse("trials-compare-json", args=["lab", pair.public_id])
    first, second = client.get(f"{address}?trial=1&trial=2").json()
    assert first["trial"] == "1" and first["Result: accuracy"] == 0.9
    assert second["Parameters: layers"] == 3


@pytest.mark.parametrize(
    ("name", "data", "shown"),
    [
        ("scores.csv", b"class,f1\napple,0.91\n", "<td>apple</td>"),
        ("scores.json", b'{"f1": 0.91}', "0.91"),
        ("report.md", b"# Report\n\n**bold**", "<strong>bold</strong>"),
        ("notes.txt", b"<script>alert(1)</script>\nend", "&lt;script&gt;alert(1)"),
        ("broken.json", b"{", '<pre class="log"'),
        ("empty.csv", b"", "Empty file."),
        ("weights.bin", b"\0\1\2", "No preview for this type."),
        ("no-image.png", b"this is text", '<pre class="log"'),
        ("no-image.jpg", b"\0\1\2", "No preview for this type."),
        ("plot.dat", b"\x89PNG\r\n\x1a\n" + b"0" * 20, "<img"),
    ],
)
def test_a_file_that_is_no_image_is_shown_beside_the_others(pair, carol, name, data, shown):
    """TD-C5, TD-C7: tables, JSON, Markdown and text side by side, by their content."""
    for trial in pair.trials.all():
        leave(trial, name, data)
    html = page(carol, pair, [1, 2], file=name).content.decode()
    assert html.count(shown) >= 2


def test_a_difference_has_no_more_decimals_than_its_values():
    """TD-V10: the rest is noise of the floats."""
    row = number_row("loss", [123456789.001, 123456789.002, 123456789.006])
    assert [cell.text for cell in row.cells] == ["123456789.001", "123456789.002", "123456789.006"]
    assert [cell.delta for cell in row.cells[1:]] == ["+0.001", "+0.005"]
    assert number_row("loss", [1e-7, 1.5e-7]).cells[1].delta == "+5e-8"
