"""TD-D2, TD-D6: dashboards by keyboard and without scripts; a wall that turns for days."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from experiments.models import Dashboard, Outcome, ShareLink
from experiments.web.workspace import wall
from tests.browser.conftest import DESK
from tests.support.waiting import eventually

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

WALL = "/w/lab/wall/"
COUNTS = """addEventListener("htmx:afterSwap", ({ target }) => {
    window.turns = (window.turns ?? 0) + (target.id === "wall");
}, true)"""


@pytest.fixture
def board(lab, alice) -> Dashboard:
    row = Dashboard.create(lab, by=alice, name="CVPR", is_shared=True)
    row.change(name="CVPR", is_shared=True, is_on_wall=True)
    for title in "abc":
        row.add("text", title=title, text="x")
    return row


@pytest.mark.parametrize("has_scripts", [True, False], ids=["scripts", "none"])
def test_tiles_are_moved_by_keyboard(open_as, board, bob, has_scripts):
    """TD-D2: with and without JavaScript."""
    page = open_as(bob, f"/w/lab/dashboards/{board.pk}/edit/", DESK, java_script_enabled=has_scripts)
    for name, wanted in (("Move down: a", "bac"), ("Wider: c", "bac"), ("Remove: b", "ac")):
        page.get_by_role("button", name=name, exact=True).focus()
        page.keyboard.press("Enter")
        expect(page.locator(".tile h2")).to_have_text(list(wanted))
    page.get_by_role("button", name="Undo").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".tile h2")).to_have_text(list("bac"))
    assert board.tiles.get(title="c").width == 3


def test_a_tile_follows_what_it_shows(open_as, board, carol, monkeypatch):
    """TD-D2: each by itself."""
    monkeypatch.setattr("experiments.web.dashboards.page.POLL_S", 0.2)
    page = open_as(carol, f"/w/lab/dashboards/{board.pk}/")
    other, statuses = board.tiles.get(title="b"), []
    page.on("response", lambda answer: f"tiles/{other.pk}/" in answer.url and statuses.append(answer.status))
    board.tiles.get(title="a").change(title="news", text="changed")
    expect(page.locator(".tile h2").first).to_have_text("news")
    eventually(lambda: page.evaluate("true") and 304 in statuses, what="an answer that nothing changed")


def test_space_pauses_the_wall_and_arrows_lead_on(open_as, board, carol):
    """TD-D6."""
    page = open_as(carol, f"{WALL}?page=running&page=capacity&dashboard={board.pk}&hold=running")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#slide-capacity")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#slide-running")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.get_by_role("link", name="Pause rotation")).to_be_attached()
    page.keyboard.press("Space")
    expect(page.get_by_role("link", name="Resume rotation")).to_be_attached()


def heap_after(page: Page, turns: int) -> dict[str, float]:
    """What the browser keeps after so many turns, garbage collected: with the smallest of the pages."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    least: dict[str, float] = {}
    for turn in range(turns, turns + len(wall.PAGES) * 2):
        eventually(lambda turn=turn: (page.evaluate("window.turns") or 0) >= turn, within=600, every=0.05)
        session.send("HeapProfiler.collectGarbage")
        for row in session.send("Performance.getMetrics")["metrics"]:
            least[row["name"]] = min(row["value"], least.get(row["name"], row["value"]))
    session.detach()
    return least


@pytest.mark.parametrize(
    ("first", "last"), [(12, 40), pytest.param(100, 2000, marks=pytest.mark.soak)], ids=["short", "long"]
)
@pytest.mark.timeout(900)
def test_a_wall_keeps_nothing_of_what_it_has_shown(open_as, board, running, carol, monkeypatch, first, last):
    """TD-D6: neither nodes nor listeners nor memory, over many turns."""
    monkeypatch.setattr(wall, "TURN_S", 0.02)
    monkeypatch.setattr(wall, "EVERY_S", 0.02)
    experiment = running("resnet", taken=1)
    board.add("chart", experiment=experiment, chart="history")
    page = open_as(carol, "/account/")
    page.add_init_script(COUNTS)
    page.goto(WALL)
    before = heap_after(page, first)
    after = heap_after(page, last)
    assert after["Documents"] == before["Documents"]
    assert after["JSEventListeners"] <= before["JSEventListeners"] + 10
    assert after["Nodes"] <= before["Nodes"] * 1.2
    assert after["JSHeapUsedSize"] < before["JSHeapUsedSize"] + 1_000_000


def test_a_wall_goes_on_when_the_server_is_back(open_as, board, carol, monkeypatch):
    """TD-D6: by itself, with a word while the server is silent."""
    monkeypatch.setattr(wall, "EVERY_S", 0.2)
    page = open_as(carol, "/account/").context.new_page()  # in which the browser may report failed requests
    page.goto(f"{WALL}?hold=running")
    live = page.locator("[data-live-word]")
    page.route("**/wall/**", lambda route: route.fulfill(status=503, body=""))
    expect(live).to_have_text("Not live")
    page.unroute("**/wall/**")
    expect(live).to_have_text("Live", timeout=60_000)


def test_a_wall_is_readable_from_four_meters(open_as, board, carol):
    """TD-D6: on a screen of 1920 pixels no text is smaller than 24 pixels, and nothing has to be scrolled."""
    page = open_as(carol, f"{WALL}?hold=running", {"width": 1920, "height": 1080})
    for key in (*wall.PAGES, f"d{board.pk}-1"):
        page.goto(f"{WALL}?hold={key}")
        small = page.evaluate(
            """() => [...document.querySelectorAll("#wall :not(svg, svg *)")].filter((element) =>
                [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
                && element.checkVisibility({ opacityProperty: true })
                && !element.closest(".sr-only") && parseFloat(getComputedStyle(element).fontSize) < 24
            ).map((element) => element.outerHTML.slice(0, 100))"""
        )
        assert small == [], key
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight"), key


def test_a_shared_view_needs_no_scripts(open_as, board, alice):
    """TD-D2: nor does it move when the browser asks for less motion."""
    secret = ShareLink.create(board, by=alice)[1]
    page = open_as(None, f"/s/{secret}/", DESK, java_script_enabled=False, reduced_motion="reduce")
    expect(page.locator(".tile h2")).to_have_text(list("abc"))
    assert page.locator("main a, nav, form").count() == 0


def test_a_trend_stands_on_the_line_below_it(open_as, board, running, carol):
    """TD-D2: also in a row that a chart makes higher."""
    experiment = running("resnet", taken=2, concurrency=2)
    for trial, value in zip(
        experiment.trials.filter(state="running").order_by("number"), (0.5, 0.7), strict=True
    ):
        trial.settle(Outcome(value=value, exit_code=0))
    board.tiles.all().delete()
    board.add("chart", experiment=experiment, chart="history"), board.add("number", figure="best")
    page = open_as(carol, f"/w/lab/dashboards/{board.pk}/")
    trend, line = page.locator(".trend").bounding_box(), page.locator(".is-number > footer").bounding_box()
    assert trend["y"] + trend["height"] == pytest.approx(line["y"], abs=1)
