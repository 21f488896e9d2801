"""The viewer of output files: across trials, by content, and what it refuses to open."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from experiments.models import Keeping, Outcome
from tests.people import as_, look_at
from tests.web.files import leave, path_of

PNG = b"\x89PNG\r\n\x1a\n"


def view(user, experiment, **query):
    return as_(user).get(
        f"{reverse('artifact-viewer', args=['lab', experiment.public_id])}?{urlencode(query)}"
    )


@pytest.fixture
def three(running):
    """Three succeeded trials with values 0.1, 0.2 and 0.3; 3 is the best."""
    experiment = running(taken=3, concurrency=3, direction="maximize")
    for trial in experiment.trials.filter(state="running"):
        trial.settle(Outcome(value=trial.number / 10, exit_code=0))
    return look_at(experiment)


def test_one_file_is_shown_across_the_best_trials(three, carol):
    """TD-C7: the best first, in a grid with a lightbox that needs no script."""
    files = [leave(three.trials.get(number=number), "curve.png", PNG) for number in (1, 2, 3)]
    html = view(carol, three, file="curve.png").content.decode()
    places = [html.index(f'id="shot-{file.pk}"') for file in files]
    assert places == sorted(places, reverse=True)
    assert f'href="#large-{files[2].pk}"' in html and f'id="large-{files[2].pk}"' in html
    assert 'aria-current="true" title="curve.png"' in html


def test_other_trials_come_in_pages(three, carol):
    """TD-C7: after the best five, ten at a time, newest first."""
    trial = three.trials.get(number=1)
    three.trials.filter(number__gt=1).update(state="failed", value=None)
    for number in range(100, 113):
        other = type(trial).objects.create(
            experiment=three,
            revision=trial.revision,
            number=number,
            params={},
            values_digest="",
            state="stopped",
        )
        leave(other, "log.txt", b"x")
    first = view(carol, three, file="log.txt").content.decode()
    assert "#112<" in first and "#103<" in first and "#102<" not in first
    second = view(carol, three, file="log.txt", before=103).content.decode()
    assert "#102<" in second and "#103<" not in second


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("t.csv", b"a,b\n1,<i>\n", '<td class="num">1</td><td>&lt;i&gt;</td>'),
        ("m.json", json.dumps({"acc": [1, {"x": "</script>"}]}).encode(), "&lt;/script&gt;"),
        ("r.md", b"# Report\n\n<script>x</script>", "<h3>Report</h3>"),
        ("page.html", b"<script>alert(1)</script>", "&lt;script&gt;alert(1)"),
        ("v.svg", b"<svg onload=alert(1)>", "&lt;svg onload"),
        ("model.pt", b"PK\x00\x00", "No preview for this type"),
        ("empty.txt", b"", "Empty file"),
        ("half.json", b'"\\ud800"', "?"),
        ("plots/loss/train/00001.json", json.dumps({"data": [{"y": [1, 2, 3]}]}).encode(), "is-wide"),
    ],
)
def test_a_file_is_shown_by_its_content(three, carol, name, data, expected):
    """TD-C7: and nothing in it runs."""
    leave(three.trials.get(number=3), name, data)
    answer = view(carol, three, file=name, trial=3)
    assert answer.status_code == 200
    html = answer.content.decode()
    assert expected in html
    assert "<script>alert" not in html and "<script>x" not in html
    assert view(carol, three, file=name, trial=3, v="raw").status_code == 200


def test_a_long_table_is_read_in_pages(three, carol):
    """TD-C7: rows keep their numbers."""
    leave(three.trials.get(number=3), "t.csv", b"id\n" + b"".join(b"%d\n" % row for row in range(1, 1_502)))
    html = view(carol, three, file="t.csv", trial=3).content.decode()
    assert (
        "The first 1,000 of 1,501 rows are shown." in html and "row=1001" in html and "Previous" not in html
    )
    html = view(carol, three, file="t.csv", trial=3, row=1001).content.decode()
    assert "Rows 1,001 to 1,501 of 1,501 are shown." in html and "Next rows" not in html
    assert '<td class="num muted">1001</td>' in html and "Previous rows" in html
    assert view(carol, three, file="t.csv", trial=3, row=0).status_code == 400


def test_a_link_in_the_place_of_a_file_is_not_followed(three, carol, tmp_path):
    """TD-C7, TD-Z2."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    artifact = leave(three.trials.get(number=3), "notes.txt", b"fine")
    path_of(artifact).unlink()
    path_of(artifact).symlink_to(secret)
    html = view(carol, three, file="notes.txt", trial=3).content.decode()
    assert "No preview" in html and "the secret" not in html


def test_a_file_elsewhere_says_where_it_is(three, carol):
    """TD-C7."""
    leave(three.trials.get(number=3), "notes.txt", None)
    html = view(carol, three, file="notes.txt", trial=3).content.decode()
    assert "The file is on the machine" in html


def test_what_does_not_exist_gets_a_sentence(three, carol):
    """TD-C7, TD-C3."""
    gone = leave(three.trials.get(number=3), "gone.txt", b"x", keeping=Keeping.DROPPED)
    for query in (
        {"file": "nowhere.txt"},
        {"file": "nowhere.txt", "trial": 3},
        {"file": gone.name, "trial": 3},
    ):
        answer = view(carol, three, **query)
        assert answer.status_code == 400, query
    assert view(carol, three, file="a\0b").status_code == 400
    assert view(carol, three, file="a", v="html").status_code == 400


def test_without_files_it_says_how_to_keep_some(three, carol):
    """TD-C7."""
    answer = view(carol, three)
    assert answer.status_code == 200 and "TRIALDECK_OUTPUT_DIR" in answer.content.decode()


def test_an_image_that_is_none_is_not_served(three, carol):
    """TD-C7: the type comes from the bytes; nothing may be sniffed by the browser or run."""
    trial = three.trials.get(number=3)
    fake = leave(trial, "fake.png", b"<script>alert(1)</script>")
    real = leave(trial, "real.gif", PNG)
    html = view(carol, three, file=fake.name).content.decode()
    assert "<img" not in html and "is-file" in html  # a link to the file, no broken image
    client = as_(carol)
    assert client.get(reverse("artifact-image", args=["lab", three.public_id, fake.pk])).status_code == 404
    answer = client.get(reverse("artifact-image", args=["lab", three.public_id, real.pk]))
    assert answer["Content-Type"] == "image/png" and answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]


def test_its_queries_do_not_grow_with_the_files(three, carol):
    """TD-C7: a fixed number of queries."""
    trials = list(three.trials.filter(number__lte=3))
    client, url = as_(carol), reverse("artifact-viewer", args=["lab", three.public_id])
    counts = []
    for number in (1, 20):
        for trial in trials:
            for place in range(number):
                leave(trial, f"{number}-{place}.txt", b"x")
        with CaptureQueriesContext(connection) as queries:
            assert client.get(url).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 12
