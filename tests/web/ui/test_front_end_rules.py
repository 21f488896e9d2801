"""House rules of the look: what the CSP forbids is nowhere, every state has its mark, every text can be read."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from django.template.loader import get_template

from experiments.models.status import EXPERIMENT_STATES, TRIAL_STATES

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[3]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
ALL = ROOT / "static/css/all.css"
STYLES = sorted({*(ROOT / "static/css").rglob("*.css")} - {ALL})
SCRIPTS = sorted((ROOT / "static/js").rglob("*.js"))
STATES = sorted((EXPERIMENT_STATES | TRIAL_STATES).values(), key=lambda state: state.word)
CSS = "\n".join(path.read_text() for path in STYLES)


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


def test_there_is_something_to_judge():
    assert len(TEMPLATES) > 20 and len(STYLES) > 10 and len(SCRIPTS) > 5 and len(STATES) > 10


@pytest.mark.parametrize("path", TEMPLATES, ids=names(TEMPLATES))
def test_a_template_needs_no_exception_from_the_csp(path):
    """The CSP has no unsafe-*."""
    text = path.read_text()
    tags = re.findall(r"<[a-zA-Z][^<>]*>", re.sub(r"{%.*?%}|{{.*?}}|{#.*?#}", "", text, flags=re.S))
    for tag in tags:
        assert not re.search(r"\sstyle\s*=", tag), f"inline style in {tag}"
        assert not re.search(r"\son[a-z]+\s*=", tag), f"inline handler in {tag}"
        assert "javascript:" not in tag and "data:" not in tag, tag
        if tag.startswith("<script"):
            assert " src=" in tag, f"inline script: {tag}"
        assert not tag.startswith("<style"), "inline style sheet"


@pytest.mark.parametrize("path", TEMPLATES, ids=names(TEMPLATES))
def test_a_template_compiles(path):
    assert get_template(str(path.relative_to(ROOT / "templates")))


def test_every_form_that_posts_carries_its_token():
    for path in TEMPLATES:
        for form in re.findall(r'<form[^>]*method="post".*?</form>', path.read_text(), flags=re.S):
            assert "{% csrf_token %}" in form, f"{path.name}: {form[:80]}"


def sprite() -> ET.Element:
    return ET.fromstring((ROOT / "static/glyphs.svg").read_text())


def symbols() -> set[str]:
    return {symbol.attrib["id"] for symbol in sprite() if symbol.tag.endswith("symbol")}


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.word)
def test_every_state_has_a_glyph_and_a_colour(state):
    """PAI-S2: a state is a word with its glyph."""
    assert f"g-{state.glyph}" in symbols()
    rules = re.findall(r"((?:\[data-status=\"\w+\"\],?\s*)+){ --c: var\(--(\w+)\); }", CSS)
    roles = [role for selector, role in rules if f'"{state.word}"' in selector]
    assert roles == [state.role]


def test_states_of_one_list_have_glyphs_of_different_shape():
    """Color never speaks alone."""
    drawn = {symbol.attrib["id"]: ET.tostring(symbol).split(b">", 1)[1] for symbol in sprite()}
    for states in (EXPERIMENT_STATES, TRIAL_STATES):
        shapes = [drawn[f"g-{state.glyph}"] for state in states.values()]
        assert len(set(shapes)) == len(states)


def test_every_mark_that_a_template_names_is_in_the_sprite():
    symbols_ = symbols()
    for path in TEMPLATES:
        for kind, name in re.findall(r'{% (icon|glyph) "([^"]+)" %}', path.read_text()):
            assert f"{kind[0]}-{name}" in symbols_, f"{path.name} names the {kind} {name}"


@pytest.mark.parametrize("path", SCRIPTS, ids=names(SCRIPTS))
def test_a_script_leaves_nothing_on_window_and_writes_no_code(path):
    code = re.sub(r"//.*|/\*.*?\*/", "", path.read_text())
    assert not re.search(r"\b(window|globalThis|self)\s*(\.\s*\w+|\[[^\]]+\])\s*=(?!=)", code)
    assert not re.search(r"\beval\(|new Function\(|innerHTML\s*=|setAttribute\(\"style\"", code)


def test_every_style_sheet_is_linked_once_and_the_one_that_names_the_layers_first():
    linked = [f"css/{name}" for name in re.findall(r'@import "([\w/-]+\.css)";', ALL.read_text())]
    there = {str(path.relative_to(ROOT / "static")) for path in STYLES}
    assert linked[0] == "css/tokens.css"
    assert len(linked) == len(set(linked))
    assert set(linked) <= there
    assert there - set(linked) <= {"css/pages/wall.css", "css/admin.css", "css/patterns.css"}, (
        "these have pages of their own"
    )


@pytest.mark.parametrize("path", STYLES, ids=names(STYLES))
def test_a_style_sheet_is_layered_and_asks_nobody_else(path):
    text = path.read_text()
    outside = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    assert re.match(r"\s*@layer ", outside)
    for address in re.findall(r"url\([\"']?([^\"')]+)", text):
        assert (path.parent / address).is_file(), address
    defined = set(re.findall(r"(--[\w-]+)\s*:", CSS))
    used = set(re.findall(r"var\((--[\w-]+)\s*\)", text))
    assert used <= defined, used - defined


# Contrast, computed from the tokens


def tokens(theme: str) -> dict[str, tuple[float, float, float]]:
    """The oklch colours of a theme as linear sRGB."""
    values = {}
    pattern = r"oklch\(([\d.]+)% ([\d.]+) ([\d.]+)\)"
    for name, value in re.findall(r"(--[\w-]+):\s*([^;]+);", (ROOT / "static/css/tokens.css").read_text()):
        if pair := re.fullmatch(rf"light-dark\({pattern},\s*{pattern}\)", value):
            parts = pair.groups()[:3] if theme == "light" else pair.groups()[3:]
            values[name] = linear(*map(float, parts))
        elif single := re.fullmatch(pattern, value):
            values[name] = linear(*map(float, single.groups()))
    return values


def linear(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """OKLCH (percent, chroma, degrees) to linear sRGB, clipped (bottosson.github.io/posts/oklab)."""
    from math import cos, radians, sin

    a, b = chroma * cos(radians(hue)), chroma * sin(radians(hue))
    light = lightness / 100
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short
    return tuple(min(max(part, 0.0), 1.0) for part in (red, green, blue))


def contrast(first: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """WCAG 2 contrast of two linear sRGB colours."""

    def luminance(colour: tuple[float, float, float]) -> float:
        return 0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]

    low, high = sorted((luminance(first), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_of_black_and_white_is_what_wcag_says():
    assert contrast(linear(0, 0, 0), linear(100, 0, 0)) == pytest.approx(21, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_can_be_read_on_every_plane(theme):
    theme_tokens = tokens(theme)
    for plane in ("--canvas", "--surface", "--raised", "--sunken"):
        for ink in ("--ink", "--ink-2", "--ink-3", "--accent", "--danger-ink", "--good-ink"):
            assert contrast(theme_tokens[ink], theme_tokens[plane]) >= 4.5, f"{ink} on {plane}"
    assert contrast(theme_tokens["--on-accent"], theme_tokens["--accent"]) >= 4.5
    assert contrast(theme_tokens["--on-danger"], theme_tokens["--danger-fill"]) >= 4.5
    assert contrast(theme_tokens["--canvas"], theme_tokens["--ink"]) >= 4.5, "toasts and tips"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_mark_and_every_edge_can_be_seen(theme):
    """WCAG 1.4.11: 3:1 for what tells a state or shows a control."""
    theme_tokens = tokens(theme)
    for plane in ("--canvas", "--surface"):
        for mark in ("--quiet", "--active", "--moving", "--good", "--bad", "--cut", "--edge"):
            assert contrast(theme_tokens[mark], theme_tokens[plane]) >= 3, f"{mark} on {plane}"
