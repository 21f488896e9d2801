"""Reads a drawing back as a browser would, and says what no drawing may hold."""

import re
from xml.etree import ElementTree

ALLOWED = {"svg", "title", "desc", "g", "a", "rect", "line", "path", "circle", "text", "clipPath"}
COORDINATES = {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"}
NUMBER = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")


def read(svg: str) -> ElementTree.Element:
    """Parse a chart (one drawing or two in a row) and check everything that holds for all of them."""
    root = ElementTree.fromstring(f"<page>{svg}</page>")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids)), "an ID twice in one page"
    for element in list(root.iter())[1:]:
        assert element.tag in ALLOWED, element.tag
        for name, value in element.attrib.items():
            assert name != "style"
            assert not name.startswith("on")
            if name in COORDINATES:
                assert NUMBER.fullmatch(value), f"{element.tag} {name}={value}"
                assert abs(float(value)) < 1e5, f"{element.tag} {name}={value}"
            if name == "d":
                assert not re.search("nan|inf", value), value
                assert all(abs(float(number[0])) < 1e5 for number in re.finditer(NUMBER, value)), value
    return root


def read_chart(svg: str) -> ElementTree.Element:
    """The same for a chart with its title, description and role."""
    root = read(svg)
    assert len(root), "no drawing"
    for drawing in root:
        # A picture has no parts for screen readers: a drawing with links is a group.
        has_links = any(element.tag == "a" for element in drawing.iter())
        assert drawing.get("role") == "group" or not has_links and drawing.get("role") == "img"
        names = drawing.get("aria-labelledby").split()
        titles = [drawing.find("title"), drawing.find("desc")]
        assert names == [title.get("id") for title in titles]
        assert all(title.text.strip() for title in titles)
    return root


def having_class(root: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [element for element in root.iter() if name in element.get("class", "").split()]


def texts(root: ElementTree.Element) -> list[str]:
    return [element.text or "" for element in root.iter("text")]


def titled(root: ElementTree.Element, start: str) -> ElementTree.Element:
    """The one group or link whose tooltip begins so."""
    elements = [
        e for e in root.iter() if e.tag in ("a", "g") and (e.findtext("title") or "").startswith(start)
    ]
    assert len(elements) == 1, f"{len(elements)} marks are called {start!r}"
    return elements[0]
