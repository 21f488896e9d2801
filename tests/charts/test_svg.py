import subprocess
import sys
from html import escape
from xml.etree import ElementTree

from django.template import Context, Engine
from hypothesis import given
from hypothesis import strategies as st

from experiments.charts.drawing.svg import INVALID_XML, Svg, clip, element, px, safe
from experiments.charts.history import Point, history


def test_text_is_escaped_and_markup_is_not():
    assert element("text", "a < b & 'c'") == "<text>a &lt; b &amp; &#x27;c&#x27;</text>"
    assert element("g", element("title", "<b>")) == "<g><title>&lt;b&gt;</title></g>"
    assert element("g", str(element("line"))) == "<g>&lt;line/&gt;</g>"  # a plain string again


@given(st.text(), st.text())
def test_any_text_comes_back_as_it_was_less_what_xml_cannot_carry(text, attribute):
    read = ElementTree.fromstring(element("text", text, data_of=attribute))
    kept = "".join(char for char in text if char in "\t\n\r" or (char >= " " and char not in "\ufffe\uffff"))
    assert (read.text or "") == kept.replace("\r\n", "\n").replace("\r", "\n")
    assert len(read.attrib) == 1


def test_coordinates_are_short():
    assert [px(value) for value in (12.0, 12.34, -0.01, 0.06, -3.0)] == ["12", "12.3", "0", "0.1", "-3"]


def test_long_texts_are_clipped_with_a_sign():
    assert clip("a  b\n c", 10) == "a b c"
    assert clip("abcdef", 4) == "abc…"


def test_a_template_shows_a_chart_as_it_is():
    chart = history([Point(1, 0.5, "succeeded", "<b>")], direction="maximize", metric="m")
    template = Engine().from_string("{{ chart.svg }}|{{ chart.description }}")
    svg, description = template.render(Context({"chart": chart})).split("|")
    assert svg == chart.svg
    assert isinstance(chart.svg, Svg)
    assert description == chart.description


def test_charts_know_no_django():
    names = ("history", "curve", "sparkline", "outcome", "drawing.scale", "drawing.svg")
    code = ";".join([f"import experiments.charts.{name}" for name in names])
    check = f"import sys;{code};print([name for name in sys.modules if name.startswith('django')])"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


@given(st.text(st.sampled_from("ab é&<>\"'\n\x00\ud800\uffff"), max_size=6))
def test_a_text_without_special_characters_is_returned_as_it_is_and_any_other_is_escaped(text):
    """The short way of most tooltips gives the same result as the long one."""
    assert safe(text) == escape(INVALID_XML.sub("", text))
