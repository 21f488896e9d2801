"""Experiments side by side: settings, replicates, charts, and what a reader may see."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.urls import reverse
from django.utils import timezone

from experiments.models import Experiment, Trial, Workspace
from tests.people import as_, make_settings

URL = "/w/lab/experiments/compare/"


def page(user, picks, **extra):
    """The answer of the page."""
    return as_(user).get(f"{URL}?{urlencode({'pick': picks, **extra}, doseq=True)}")


def row(answer, label: str) -> list[str]:
    """The cells of a row as text."""
    markup = re.search(
        rf'<th scope="row" title="{re.escape(label)}">.*?</tr>', answer.content.decode(), re.S
    )[0]
    cells = re.findall(r"<td.*?</td>", markup, re.S)
    return [" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in cells]


def results(answer) -> list[list[str]]:
    """The cells of the table of results as text."""
    table = answer.content.decode().split('aria-label="Results by experiment"')[1].split("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1], re.S)
    return [
        [
            " ".join(re.sub(r"<[^>]*>", " ", cell).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", each, re.S)
        ]
        for each in rows
    ]


@pytest.fixture
def make(draft):
    """Makes experiments with results: `make("a", [0.7, 0.9], seed=1)`."""

    def make(name: str, values: list[float], **changes: object) -> Experiment:
        experiment = draft(name, direction="maximize", **changes)
        start = timezone.now() - timedelta(hours=2)
        Trial.objects.bulk_create(
            Trial(
                experiment=experiment,
                revision=experiment.revision,
                number=number,
                params={"lr": 0.01, "layers": 1},
                values_digest=str(number),
                state="succeeded",
                value=value,
                ended_at=start + timedelta(minutes=number * 10),
            )
            for number, value in enumerate(values, 1)
        )
        with experiment.locked():
            experiment.last_number = experiment.proposed_count = len(values)
            experiment.succeeded_count = len(values)
            experiment.started_at = start
            best = None
            for number, value in enumerate(values, 1):
                if experiment.is_better(value, best):
                    best, experiment.best_number = value, number
                    experiment.trace = [*experiment.trace, [number, value]]
            experiment.best_value = best
            experiment.compute_s = 3600 * len(values)
        return experiment

    return make


def test_it_shows_the_settings_that_differ(make, carol):
    """TD-C5: only the differences; parameters of the search space by name."""
    space = {
        "lr": {"_type": "loguniform", "_value": [1e-5, 1e-1]},
        "layers": {"_type": "choice", "_value": [1, 2, 3]},
    }
    pair = [make("a", [0.7]), make("b", [0.8], algorithm="TPE", space_document=space)]
    answer = page(carol, [each.public_id for each in pair])
    assert answer.status_code == 200
    assert row(answer, "Algorithm") == ["Random", "TPE"]
    assert row(answer, "lr") == ["loguniform 0.0001, 0.1", "loguniform 1e-5, 0.1"]
    assert row(answer, "Best") == ["0.7000", "0.8000 +0.1000"]
    assert 'title="layers"' not in answer.content.decode() and 'title="Metric"' not in answer.content.decode()
    assert 'title="Metric"' in page(carol, [each.public_id for each in pair], rows="all").content.decode()


def test_experiments_that_differ_only_in_their_seed_are_replicates(make, carol):
    """TD-C5: mean, standard deviation and range over replicates, the difference of the means to the baseline."""
    first = [
        make(f"tpe {seed}", [0.5, best], algorithm="TPE", seed=seed)
        for seed, best in enumerate((0.8, 0.9, 1.0))
    ]
    other = make("random", [0.6, 0.7], seed=9)
    answer = page(carol, [*(each.public_id for each in first), other.public_id])
    assert results(answer) == [
        ["tpe 0", "3", "0.9000", "± 0.1000", "—", "0.8000 – 1.0000", "2 (3 of 3)", "6.0"],
        ["random", "1", "0.7000", "—", "−0.2000", "—", "2", "2.0"],
    ]
    assert 'data-role="bad">−0.2000' in answer.content.decode()
    assert answer.content.decode().count('class="band-1"') == 6, "both charts of the best, for three widths"


def test_the_best_so_far_is_drawn_by_trial_and_by_time(make, carol):
    """TD-C5: curves by trial and by time, with their data."""
    pair = [make("a", [0.5, 0.4, 0.9]), make("b", [0.8], algorithm="TPE")]
    html = page(carol, [each.public_id for each in pair]).content.decode()
    assert (
        "Best so far by trial" in html and "Best so far by time" in html and "Distribution of results" in html
    )
    data = page(carol, [each.public_id for each in pair], show="data").content.decode()
    by_trial = re.findall(r"<td>a</td><td class=\"num\">([\d.]+)</td><td class=\"num\">([\d.]+)</td>", data)
    assert by_trial[:2] == [("1", "0.5000"), ("3", "0.9000")]
    assert ("30", "0.9000") in by_trial, "the third trial ended half an hour after the start"
    assert "Minutes" in data


def test_another_objective_is_left_out_of_the_charts_with_a_word(make, carol):
    """TD-C5: values of different metrics share no axis."""
    pair = [make("a", [0.5]), make("other metric", [30.0], metric="latency")]
    html = page(carol, [each.public_id for each in pair]).content.decode()
    assert "Excluded from charts and results" in html and "other metric" in html.split("Excluded")[1]
    assert len(results(page(carol, [each.public_id for each in pair]))) == 1


@pytest.mark.parametrize(
    ("count", "sentence"),
    [
        (1, "1 experiment is selected. Select 2 to 20."),
        (21, "21 experiments are selected. Select at most 20"),
    ],
)
def test_too_few_or_too_many_get_a_sentence(draft, carol, count, sentence):
    """TD-C5, TD-C3."""
    picks = [draft(f"e{number}").public_id for number in range(count)]
    answer = page(carol, picks)
    assert answer.status_code == 400 and sentence in answer.content.decode()


def test_what_a_reader_may_not_see_is_missing(make, alice, bob, carol):
    """TD-C5, PAI-L2: private experiments, and those of other workspaces, like those that never were."""
    shown = make("a", [0.5])
    secret = make("secret plan", [0.6])
    secret.describe(by=alice, visibility="private")
    elsewhere = Workspace.open("elsewhere", name="Elsewhere", owner=alice)
    other = Experiment.draft(elsewhere, by=alice, name="other", settings=make_settings())
    for reader, pick in ((bob, secret), (carol, secret), (alice, other)):
        answer = page(reader, [shown.public_id, pick.public_id])
        assert answer.status_code == 400
        assert f"No experiment “{pick.public_id}” in the workspace Lab" in answer.content.decode()
        assert pick.name not in answer.content.decode() or pick is other
    assert page(alice, [shown.public_id, secret.public_id]).status_code == 200
    assert page(carol, ["zzzzzzzz", "a\0b"]).status_code == 400


def test_without_a_selection_it_offers_what_to_compare(make, carol, dave, lab):
    """TD-C5: from Home; the form works without JavaScript."""
    make("a", [0.5]), make("b", [0.6])
    html = as_(carol).get(URL).content.decode()
    assert html.count('type="checkbox" name="pick"') == 2 and ">Compare</button>" in html
    Experiment.objects.update(state="completed")  # Home lists what has run
    assert f'href="{URL}"' in as_(carol).get("/w/lab/").content.decode()
    assert f'formaction="{URL}"' in as_(carol).get("/w/lab/experiments/").content.decode()
    assert as_(dave).get(URL).status_code == 404


def test_the_number_of_queries_does_not_depend_on_the_number_of_experiments(
    make, carol, django_assert_num_queries
):
    """TD-C5: bounded queries."""
    picks = [make(f"e{number}", [0.1, 0.2], seed=number).public_id for number in range(20)]
    client = as_(carol)
    with django_assert_num_queries(8) as few:
        client.get(f"{URL}?{urlencode({'pick': picks[:2]}, doseq=True)}")
    with django_assert_num_queries(len(few) - 1):  # nothing can be added
        assert client.get(f"{URL}?{urlencode({'pick': picks}, doseq=True)}").status_code == 200


def test_it_comes_as_csv(make, carol):
    """TD-C5, TD-X6."""
    pair = [make("a", [0.5]), make("b", [0.75], algorithm="TPE")]
    url = reverse("experiments-compare-csv", args=["lab"])
    text = (
        as_(carol)
        .get(f"{url}?{urlencode({'pick': [each.public_id for each in pair]}, doseq=True)}")
        .content.decode()
    )
    head, first, second = text.splitlines()
    assert head.startswith("experiment,Result: Best,") and "Settings: Algorithm" in head
    assert first.startswith(f"{pair[0].public_id},0.5,") and second.startswith(f"{pair[1].public_id},0.75,")
