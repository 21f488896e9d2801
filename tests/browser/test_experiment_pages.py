"""The pages of an experiment with the keyboard alone, and without JavaScript."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from playwright.sync_api import Page, expect

from experiments.models import Artifact, Experiment, Outcome, User
from tests.browser.conftest import DESK, PHONE, is_wider_than_its_window
from tests.browser.test_accessibility import RULES
from tests.web.files import leave
from tests.web.trial.test_table import many

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

MOST_STOPS = 200  # of Tab on one page; more is a trap
FILES = {
    "notes.txt": b"a\nb\n",
    "table.csv": b"step,loss\n1,0.5\n",
    "run.json": b'{"a": [1]}',
    "note.md": b"# A",
}

# Everything in <main> that Tab should reach: a chart and a group of radio buttons are a single stop each.
REACHABLE = """() => {
  const all = [...document.querySelectorAll("main :is(a[href], button, input, select, textarea, summary)")];
  const seen = all.filter((each) => each.checkVisibility({ visibilityProperty: true }) && !each.disabled
    && each.tabIndex >= 0 && each.type !== "hidden" && (each.type !== "radio" || each.checked));
  window.stops = seen; // a property: an attribute would go when the page is drawn anew
  return seen.length;
}"""
# The browser itself draws the ring of the calendar's button in a date field.
STOP = """() => {
  const at = document.activeElement, box = at.getBoundingClientRect();
  if (at === document.body) return null;
  const rings = [at, at.parentElement, at.parentElement.parentElement].map((each) => getComputedStyle(each));
  return {
    stop: window.stops.indexOf(at),
    what: at.outerHTML.slice(0, 140),
    isVisible: at.checkVisibility({ visibilityProperty: true }) && box.width > 0 && box.height > 0,
    isInWindow: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
    hasRing: at.type === "date"
      || rings.some((style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0),
  };
}"""


def png(side: int = 8) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress((b"\0" + b"\x40\x80\xc0" * side) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.fixture
def searched(running: Callable[..., Experiment]) -> Experiment:
    """An experiment that runs, with 12 trials that have ended, a failure, and files of every kind."""
    experiment = running("the run", taken=2, concurrency=2)
    experiment.trials.get(number=1).settle(Outcome(value=0.5, exit_code=0))
    many(experiment, 12, last=100)
    trial = experiment.trials.get(number=1)
    for name, data in FILES.items():
        leave(trial, name, data)
    leave(trial, "curve.png", png())
    return experiment


def pages_of(experiment: Experiment) -> dict[str, str]:
    """The addresses of all pages of an experiment, by name."""
    where = ["lab", experiment.public_id]
    tabs = ("charts", "trials", "configuration", "execution", "artifacts", "activity", "edit")
    viewer = reverse("artifact-viewer", args=where)
    return {
        "overview": reverse("experiment", args=where),
        **{name: reverse(f"experiment-{name}", args=where) for name in tabs},
        "compare": f"{reverse('trials-compare', args=where)}?trial=101&trial=102&trial=103",
        "trial": reverse("trial", args=[*where, 1]),
        "log": reverse("trial-log", args=[*where, 1]),
        "clone": reverse("experiment-action", args=[*where, "clone"]),
        "images": f"{viewer}?file=curve.png",
        **{name: f"{viewer}?file={name}&trial=1" for name in (*FILES, "curve.png")},
        "create": reverse("experiment-new", args=["lab"]),
    }


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.timeout(600)
def test_tab_reaches_every_control_of_an_experiment_and_leaves_the_page(
    open_as: Callable[..., Page], bob: User, searched: Experiment, viewport: dict
) -> None:
    """TD-X5: each stop is in the window and has a ring; none is missing, and none holds the focus."""
    page = open_as(bob, "/", viewport, reduced_motion="reduce")
    faults = []
    for name, address in pages_of(searched).items():
        page.goto(address)
        count = page.evaluate(REACHABLE)
        reached = set()
        for _ in range(MOST_STOPS):
            page.keyboard.press("Tab")
            stop = page.evaluate(STOP)
            if stop is None:
                break
            reached.add(stop["stop"])
            faults += [
                (name, fault, stop["what"])
                for fault in ("isVisible", "isInWindow", "hasRing")
                if not stop[fault]
            ]
        else:
            faults.append((name, "never ends", ""))
        faults += [
            (name, "not reached", page.evaluate(f"window.stops[{place}].outerHTML.slice(0, 140)"))
            for place in sorted(set(range(count)) - reached)
        ]
    assert faults == []


def test_enter_opens_the_trial_of_the_mark(
    open_as: Callable[..., Page], bob: User, searched: Experiment
) -> None:
    """TD-C1"""
    page = open_as(bob, pages_of(searched)["charts"])
    chart = page.locator("#history .chart:visible")
    chart.locator("a:not([tabindex])").focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.wait_for_url("**/trials/*/")


@pytest.mark.parametrize("has_script", [True, False], ids=["script", "no-script"])
def test_a_large_image_opens_and_closes_by_the_keyboard(
    open_as: Callable[..., Page], bob: User, searched: Experiment, *, has_script: bool
) -> None:
    """TD-C7: the focus is at the large image, then where it was; Escape needs the script."""
    artifact = Artifact.objects.get(name="curve.png")
    page = open_as(bob, pages_of(searched)["images"], java_script_enabled=has_script)
    small, large = page.locator(f"#shot-{artifact.pk}"), page.locator(f"#large-{artifact.pk}")
    expect(large).to_be_hidden()
    small.focus()
    page.keyboard.press("Enter")
    expect(large).to_be_visible()
    expect(large).to_be_focused()
    if has_script:
        page.keyboard.press("Escape")
    else:
        page.keyboard.press("Tab")
        expect(large.get_by_role("link", name="Close")).to_be_focused()
        page.keyboard.press("Enter")
    expect(large).to_be_hidden()
    expect(small).to_be_focused()


@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_without_a_script_every_page_can_be_read(
    open_as: Callable[..., Page], bob: User, searched: Experiment, viewport: dict
) -> None:
    """TD-X6: a heading, nothing wider than the window, and no control that only a script could work."""
    page = open_as(bob, "/", viewport, java_script_enabled=False)
    for name, address in pages_of(searched).items():
        response = page.goto(address)
        assert response and response.status == 200, name
        expect(page.get_by_role("heading", level=1).first).to_be_visible()
        assert not is_wider_than_its_window(page), name
        for button in page.locator("main button:visible:not([popovertarget])").all():
            assert button.evaluate("e => Boolean(e.form) && e.type !== 'button'"), (
                name,
                button.evaluate("e => e.outerHTML"),
            )


@pytest.mark.parametrize(
    ("viewport", "scheme"),
    [
        pytest.param(PHONE, "light", id="phone"),
        *(pytest.param(*case, marks=pytest.mark.soak) for case in ((PHONE, "dark"), (DESK, "dark"))),
    ],
)
@pytest.mark.timeout(600)
def test_no_page_of_an_experiment_breaks_a_rule_of_axe(
    open_as: Callable[..., Page], bob: User, searched: Experiment, viewport: dict, scheme: str
) -> None:
    """TD-X5: files, comparison and charts with results included."""
    page = open_as(bob, "/", viewport)
    page.emulate_media(color_scheme=scheme)
    broken = []
    for name, address in pages_of(searched).items():
        page.goto(address)
        for rule in Axe().run(page, options=RULES).response["violations"]:
            broken.append((name, rule["id"], rule["nodes"][0]["html"][:160]))
    assert broken == []


@pytest.mark.parametrize("width", [1440, 1360, 1280, 1100, 1024, 900])
def test_no_fact_stands_alone_in_its_line(open_as, searched, bob, width):
    """On the overview, whose facts come in one line, or in lines of several."""
    page = open_as(
        bob, reverse("experiment", args=["lab", searched.public_id]), {"width": width, "height": 900}
    )
    tops = page.locator(".facts > div").evaluate_all("(all) => all.map((each) => each.offsetTop)")
    lines = [tops.count(top) for top in set(tops)]
    assert len(tops) >= 6 and (len(lines) == 1 or min(lines) > 1), (width, tops)
