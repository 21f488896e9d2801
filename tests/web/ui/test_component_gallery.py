"""The patterns page: in debug only, complete, and nothing for the CSP or the browser to complain about."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import Client
from playwright.sync_api import Browser

from experiments.models import status
from tests.browser.conftest import DESK, PHONE, is_wider_than_its_window, launched, open_as  # noqa: F401

pytestmark = pytest.mark.once

TEMPLATES = Path(__file__).parents[3] / "templates"
COMPONENTS = sorted((TEMPLATES / "components").rglob("_*.html"))
ALL = (TEMPLATES / "patterns/_all.html").read_text()

# What base.html and its sidebar include is on every page; the choice of the theme cannot be there twice.
BASE = "".join((TEMPLATES / name).read_text() for name in ("base.html", "layouts/_sidebar.html"))
OF_THE_FRAME = {*re.findall(r'"components/(_\w+\.html)"', BASE), "_crumb.html"}
BY_ANOTHER = {
    "_field_errors.html": '{% include "components/form/_field.html"',
}


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with launched(chromium) as browser:
        yield browser


def test_it_is_there_in_debug_only(settings, db):
    client = Client()
    assert client.get("/patterns/").status_code == 404
    settings.DEBUG = True
    assert client.get("/patterns/").status_code == 200


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.name)
def test_every_component_shows_itself(path):
    """A new component is drawn in templates/patterns/_all.html, in its states."""
    drawn = BY_ANOTHER.get(path.name, f'"{path.relative_to(TEMPLATES)}"')
    assert path.name in OF_THE_FRAME or drawn in ALL, f"show {path.name} in templates/patterns/_all.html"


def test_every_state_is_a_glyph_and_a_word_in_both_themes(settings, db):
    """PAI-S2."""
    settings.DEBUG = True
    page = Client().get("/patterns/").content.decode()
    for states in (status.EXPERIMENT_STATES, status.TRIAL_STATES):
        for state in states.values():
            drawn = f'<svg class="glyph"[^>]*><use href="[^"]*#g-{state.glyph}"/></svg>{state.label}<'
            mark = f'data-status="{state.word}">{drawn}'
            assert len(re.findall(mark, page)) >= 2
    ids = Counter(re.findall(r'\sid="([^"]+)"', page))
    assert [name for name, count in ids.items() if count > 1] == []


@pytest.mark.browser
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_it_needs_no_exception_from_the_csp_and_fits_its_window(
    settings,
    open_as: Callable,  # noqa: F811
    viewport,
):
    settings.DEBUG = True
    page = open_as(None, "/patterns/", viewport)
    assert page.locator(".pattern").count() == 2
    assert not is_wider_than_its_window(page)
    light, dark = page.evaluate(
        "[...document.querySelectorAll('.pattern')].map((one) => getComputedStyle(one).backgroundColor)"
    )
    assert light != dark
    cut = page.evaluate(CUT)
    assert cut == [], "text that nobody can read to its end"
    assert page.evaluate(STICKS_OUT) == []


# Buttons, words and headings that are wider than their box, where nothing says that it goes on.
CUT = """[...document.querySelectorAll('.pattern :is(.btn, .chip, .tag, .status, h1, h2, h3, p, label, dt)')]
    .filter((one) => one.offsetParent && one.scrollWidth > one.clientWidth + 1
        && getComputedStyle(one).display !== 'inline' && getComputedStyle(one).textOverflow !== 'ellipsis')
    .map((one) => one.outerHTML.slice(0, 120))"""

# What is wider than its column, where nothing scrolls.
STICKS_OUT = """[...document.querySelectorAll('.pattern')].flatMap((column) => [...column.querySelectorAll('*')]
    .filter((one) => one.offsetParent && !one.closest('.table-scroll, pre, .tabs, .sr-only, [popover]')
        && one.getBoundingClientRect().right > column.getBoundingClientRect().right)
    .map((one) => one.outerHTML.slice(0, 120)))"""


@pytest.mark.browser
def test_every_text_can_be_read_where_it_stands(settings, open_as: Callable):  # noqa: F811
    """4.5:1 (WCAG 1.4.3), computed by the browser from all planes below a text and its own opacity."""
    settings.DEBUG = True
    page = open_as(None, "/patterns/", DESK)
    assert page.evaluate("() => document.querySelectorAll('.pattern .status').length") > 30
    assert page.evaluate(FAINT) == []


FAINT = """
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const paint = (planes, ink = "transparent", seen = 1) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of planes) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    canvas.globalAlpha = seen;
    canvas.fillStyle = ink;
    canvas.fillRect(0, 0, 1, 1);
    canvas.globalAlpha = 1;
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => {
    const linear = (part) => part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.slice(0, 3).map((part) => linear(part / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const low = [];
  for (const one of document.querySelectorAll(".pattern *")) {
    const says = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!says || !one.offsetParent || one.closest("svg, .sr-only, [disabled], [aria-disabled], [popover]")) continue;
    const below = [];
    let seen = 1;
    for (let at = one; at; at = at.parentElement) {
      const { backgroundColor, opacity } = getComputedStyle(at);
      seen *= opacity;
      below.unshift(backgroundColor);
      if (paint([backgroundColor])[3] === 255) break;
    }
    const plane = light(paint(below)), ink = light(paint(below, getComputedStyle(one).color, seen));
    const contrast = (Math.max(plane, ink) + .05) / (Math.min(plane, ink) + .05);
    const theme = one.closest(".pattern").dataset.theme;
    if (contrast < 4.5) low.push(`${theme} ${contrast.toFixed(2)} ${one.outerHTML.slice(0, 90)}`);
  }
  return low;
}
"""
