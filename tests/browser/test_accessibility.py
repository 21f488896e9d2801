"""TD-X5: no page breaks a rule of axe-core (WCAG 2.2 A and AA), in light and dark."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse

from experiments.models import Dashboard, HistoryImport, Outcome, SavedView, ShareLink
from experiments.transfer.background import run_next
from tests.browser.conftest import DESK, PHONE
from tests.browser.test_walk import addresses
from tests.models.test_pareto_front import TWO, result, settle
from tests.web.files import leave

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

RULES = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    },
    "resultTypes": ["violations"],
    "preload": False,  # axe would look for the sheets that all.css imports beside the page
}
OUTSIDE = "/admin/"  # Django's own pages
PARTS = 4  # of the pages: a test each


def import_pages(lab, by):
    """The preview of a table, and its cancellation."""
    HistoryImport.receive(lab, by=by, file_name="a.csv", chunks=[b"lr,loss,acc\n1,2,3\n"])
    run_next()
    key = HistoryImport.objects.get().public_id
    return [reverse(name, args=["lab", key]) for name in ("import", "import-cancel")]


def dashboard_pages(experiment, by):
    """The pages of a dashboard with a tile of every kind, its links, what a link opens, and the wall."""
    board = Dashboard.create(experiment.workspace, by=by, name="CVPR", is_shared=True)
    board.change(name="CVPR", is_shared=True, is_on_wall=True)
    view = SavedView.create(experiment.workspace, by=by, name="all", query="", is_shared=True)
    for chart in ("history", "slices"):
        board.add("chart", experiment=experiment, chart=chart)
    board.add("leaderboard"), board.add("view", view=view), board.add("capacity")
    board.add("text", text="# Plan\n\n[a link](https://example.org/)")
    board.add("number", figure="best"), board.add("number", figure="slot_hours")
    tile = board.tiles.first()
    shared = [reverse("shared", args=[ShareLink.create(each, by=by)[1]]) for each in (board, experiment)]
    wall = reverse("wall", args=["lab"])
    where = ["lab", board.pk]
    return [
        *(reverse(name, args=["lab"]) for name in ("dashboards", "dashboard-new", "links")),
        *(reverse(name, args=where) for name in ("dashboard", "dashboard-edit")),
        reverse("tile-edit", args=[*where, tile.pk]),
        reverse("tile-add", args=[*where, "number"]),
        reverse("experiment-share", args=["lab", experiment.public_id]),
        *shared,
        *(f"{wall}?hold={key}" for key in ("running", "leaderboard", "capacity", "attention")),
        *(f"{wall}?hold=d{board.pk}-{part}" for part in (1, 2)),
    ]


def front_pages(running, worker):
    """The Overview and the charts of a completed experiment with two objectives."""
    experiment = running("two objectives", taken=0, max_trials=3, **TWO)
    settle(experiment, worker, result(0.5, 3.0), result(0.6, 4.0), result(0.4, 9.0))
    where = ["lab", experiment.public_id]
    return [reverse(name, args=where) for name in ("experiment", "experiment-charts")]


def viewer_pages(trial):
    """The viewer of files of each kind."""
    files = {
        "a.csv": b"epoch,loss\n1,2\n",
        "b.json": b'{"layers": [1, {"size": 2}]}',
        "c.md": b"# Title\n\n- item\n",
        "d.log": b"line\n",
        "e.bin": b"\0\1",
    }
    url = reverse("artifact-viewer", args=["lab", trial.experiment.public_id])
    for name, data in files.items():
        leave(trial, name, data)
    return [url, *(f"{url}?file={name}&trial={trial.number}" for name in files)]


@pytest.mark.parametrize(
    ("viewport", "scheme"),
    [
        pytest.param(DESK, "light", id="desk"),
        *(
            pytest.param(*case, marks=pytest.mark.soak)
            for case in ((DESK, "dark"), (PHONE, "light"), (PHONE, "dark"))
        ),
    ],
)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.timeout(600)
def test_no_page_breaks_a_rule(open_as, root, running, worker, draft, lab, viewport, scheme, part):
    with_front = front_pages(running, worker)
    experiment, other = running("the run", taken=2), draft("a draft")
    experiment.trials.get(number=2).settle(Outcome(exit_code=1, failure="exit_code", detail="KeyError"))
    experiment.trials.get(number=1).settle(Outcome(value=0.5, exit_code=0))
    where = ["lab", experiment.public_id]
    pages = [
        *addresses(experiment, other),
        *(reverse(name, args=where) for name in ("experiment-charts", "experiment-activity")),
        f"{reverse('trials-compare', args=where)}?trial=1&trial=2",
        reverse("experiments-compare", args=["lab"]),
        f"{reverse('experiment-trials', args=where)}?filter=value>0.1",
        *with_front,
        *viewer_pages(experiment.trials.get(number=1)),
        reverse("experiment-action", args=[*where, "stop"]),
        reverse("experiment-schedule", args=where),
        *(reverse(name, args=["lab"]) for name in ("imports", "leaderboard", "usage", "notifications")),
        *import_pages(lab, root),
        *dashboard_pages(experiment, root),
    ]
    page = open_as(root, "/", viewport)
    page.emulate_media(color_scheme=scheme)
    violations = {}
    for path in [path for path in pages if not path.startswith(OUTSIDE)][part::PARTS]:
        page.goto(path)
        for broken in Axe().run(page, options=RULES).response["violations"]:
            nodes = [f"{node['html'][:160]} {node['failureSummary'][-160:]}" for node in broken["nodes"][:2]]
            violations.setdefault(f"{broken['id']}: {broken['help']}", []).append((path, nodes))
    assert not violations, "\n".join(f"{rule}\n  {places[:3]}" for rule, places in violations.items())
