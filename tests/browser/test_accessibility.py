"""TD-X5: no page breaks a rule of axe-core (WCAG 2.2 A and AA), in light and dark."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse

from experiments.models import Outcome
from tests.browser.conftest import DESK, PHONE
from tests.browser.test_walk import addresses

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

RULES = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    },
    "resultTypes": ["violations"],
}
OUTSIDE = "/admin/"  # Django's own pages


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
@pytest.mark.timeout(600)
def test_no_page_breaks_a_rule(open_as, root, running, draft, lab, viewport, scheme):
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
        reverse("experiment-action", args=[*where, "stop"]),
    ]
    page = open_as(root, "/", viewport)
    page.emulate_media(color_scheme=scheme)
    violations = {}
    for path in pages:
        if path.startswith(OUTSIDE):
            continue
        page.goto(path)
        for broken in Axe().run(page, options=RULES).response["violations"]:
            nodes = [f"{node['html'][:160]} {node['failureSummary'][-160:]}" for node in broken["nodes"][:2]]
            violations.setdefault(f"{broken['id']}: {broken['help']}", []).append((path, nodes))
    assert not violations, "\n".join(f"{rule}\n  {places[:3]}" for rule, places in violations.items())
