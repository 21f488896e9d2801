"""The content of files, whatever their names say: pure cases."""

import json
from html.parser import HTMLParser

import pytest

from experiments.web.artifact.content import MAX_ROWS, content_of, image_type
from experiments.web.artifact.json_tree import MAX_NODES, tree
from experiments.web.ui.markdown import rendered


def kind(name: str, data: bytes, size: int | None = None) -> str:
    return content_of(name, data, size=size or len(data)).kind


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\n...", "image"),
        ("a.webp", b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image"),
        ("a.csv", b"\x89PNG\r\n\x1a\n...", "image"),
        ("a.csv", b"a,b\n1,2\n", "table"),
        ("a.tsv", b"a\tb\n1\t2\n", "table"),
        ("a.CSV", "a;b\n1;ü\n".encode("utf-16"), "table"),
        ("a.csv", b"\x00\x01\x02\x03", "binary"),
        ("a.csv", bytes(range(128, 160)) * 20, "binary"),
        ("a.csv", b'a,"' + b"x" * 200_000, "text"),  # a cell beyond csv's limit
        ("a.csv", b"\n", "table"),
        ("a.json", b'{"a": 1}', "json"),
        ("a.json", b"\xef\xbb\xbf[1]", "json"),
        ("a.json", b"{", "text"),
        ("a.json", b"[" * 100_000, "text"),
        ("a.json", b"1" * 5_000, "text"),  # more digits than Python reads
        ("a.json", b"NaN", "json"),
        ("a.jsonl", b'{"a": 1}\n\n{"a": 2}\n', "json"),
        ("a.md", b"# Hello", "markdown"),
        ("a.html", b"<script>alert(1)</script>", "text"),
        ("a.svg", b"<svg onload='x'/>", "text"),
        ("a.txt", b"caf\xe9", "text"),
        ("a.pt", b"PK\x03\x04\x00\x00", "binary"),
        ("a", b"", "empty"),
        ("a.json", b"\xff\xfe" + b"\x00\xd8" * 9, "text"),  # half characters
    ],
)
def test_a_file_is_what_its_bytes_say(name, data, expected):
    """TD-C7: sniffed, with the name only as a hint for texts."""
    assert kind(name, data) == expected


def test_nothing_active_counts_as_an_image():
    """TD-C7."""
    assert [image_type(data) for data in (b"<svg/>", b"<html>", b"GIF89a", b"%PDF-1.7")] == [
        "",
        "",
        "image/gif",
        "",
    ]


def test_a_long_table_shows_its_first_rows_and_says_so():
    """TD-C7: 1,000 rows, all columns numeric where they are."""
    data = b"id,name\n" + b"".join(b"%d,n%d\n" % (row, row) for row in range(5_000))
    shown = content_of("a.csv", data, size=len(data))
    assert len(shown.rows) == MAX_ROWS and shown.notes == ["The first 1,000 of 5,000 rows are shown."]
    assert shown.titles == [("id", True), ("name", False)]
    assert shown.lines[1] == [("1", True), ("n1", False)]
    cut = content_of("a.csv", data[:100], size=len(data))
    assert cut.notes[0].endswith("rows are shown.") and cut.rows[-1][1].startswith("n")


@pytest.mark.parametrize(
    ("first_row", "first", "count", "previous", "following"),
    [
        (1, 1, 1000, 0, 1001),
        (1001, 1001, 1000, 1, 2001),
        (2001, 2001, 500, 1001, 0),
        (9999, 2001, 500, 1001, 0),
    ],
)
def test_a_long_table_has_pages(first_row, first, count, previous, following):
    """TD-C7: every row of it can be read; a row beyond its end is on the last page."""
    data = b"id,name\n" + b"".join(b"%d,n%d\n" % (row, row) for row in range(1, 2_501))
    shown = content_of("a.csv", data, size=len(data), first_row=first_row)
    assert (shown.first_row, len(shown.rows)) == (first, count)
    assert (shown.previous_row, shown.next_row) == (previous, following)
    assert shown.rows[0][0] == str(first) and shown.header == ["id", "name"]


@pytest.mark.parametrize(
    ("name", "data", "expected", "note"),
    [
        ("a.csv", b"\n", "table", ""),
        ("a.csv", b"a,b\n", "table", ""),
        (
            "a.csv",
            b",".join(b"c%d" % at for at in range(300)),
            "table",
            "The first 50 of 300 columns are shown.",
        ),
        ("a.csv", b"\xef\xbb\xbfa;b\n1;2\n", "table", ""),
        ("a.csv", "é,b\n1,2\n".encode("latin-1"), "table", "Not UTF-8; read as Latin-1."),
        ("a.csv", b"x" * 200_000, "text", "Not a valid table; shown as text."),
        ("a.csv", b'"open\n1,2\n', "table", ""),
        ("a.json", b"[NaN, Infinity, 1e999]", "json", ""),
        ("a.json", b"[" * 100_000, "text", "Not valid JSON; shown as text."),
        ("a.json", b"1" * 10_000, "text", "Not valid JSON; shown as text."),
        ("a.jsonl", b'{"a": 1}\n\n{"a": 2}', "json", ""),
        ("a.png", b"", "empty", ""),
        ("a.png", b"no image", "text", ""),
        ("a.parquet", b"PAR1\x15\x04\x00PAR1", "binary", ""),
    ],
)
def test_ugly_files_are_shown_as_far_as_they_go(name, data, expected, note):
    """TD-C7"""
    shown = content_of(name, data, size=len(data))
    assert shown.kind == expected and (not note or note in shown.notes), shown.notes
    if shown.kind == "json":
        assert "<ul" in tree(shown.value)


def test_uneven_rows_become_a_rectangle():
    """TD-C7: a broken table is shown as far as it goes."""
    shown = content_of("a.csv", b"a\n1,2,3\n4\n", size=10)
    assert shown.header == ["a", "", ""] and shown.rows == [["1", "2", "3"], ["4", "", ""]]


def test_a_huge_json_file_is_shown_as_text_with_the_reason():
    """TD-C7: 10 MB are not parsed; a cut character at the end does not matter."""
    data = ('{"a": "' + "ü" * 1000).encode()[:-1]
    shown = content_of("a.json", data, size=10_000_000)
    assert shown.kind == "text" and shown.notes[0] == "Not small enough for a tree; shown as text."
    assert not shown.is_all


def test_a_tree_is_bounded_and_escaped():
    """TD-C7: deep and wide values, markup and half characters in names."""
    deep: object = 1
    for _ in range(500):
        deep = {"<b>": deep}
    html = tree(deep)
    assert html.count("<details") < 30 and "<b>" not in html and "&lt;b&gt;" in html
    wide = tree(list(range(10_000)))
    assert wide.count("<li>") <= MAX_NODES + 1 and "more</li>" in wide
    tree(json.loads('{"\\ud800": "\\udfff"}')).encode()


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[x](javascript:alert(1))",
        "[x](data:text/html,x)",
        "![x](http://tracker.example/pixel.png)",
        '[x](http://e.example "a\\" onmouseover=b")',
        "<a href='vbscript:x'>y</a>",
        "`<script>`",
        "<style>p{}</style><iframe src=x></iframe>",
        "[x]: javascript:alert(1)\n\n[x]",
    ],
)
def test_markdown_runs_nothing_and_loads_nothing(text):
    """TD-C7, TD-C2: what people and scripts write is sanitized."""
    seen_tags: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            seen_tags.append((tag, dict(attributes)))

    Reader().feed(rendered(text))
    assert {tag for tag, _ in seen_tags} <= {"p", "a", "code"}
    for _, attributes in seen_tags:
        assert attributes.keys() <= {"href", "title", "rel"}
        assert str(attributes.get("href") or "http:").startswith("http:")


def test_markdown_is_rendered_below_the_headings_of_the_page():
    """TD-C2: headings, lists, tables and links."""
    html = rendered(
        "# Plan\n\n* a\n* **b**\n\n|x|y|\n|-|-|\n|1|2|\n\n[docs](https://docs.example)\n\n" + ">" * 5000
    )
    assert (
        "<h3>Plan</h3>" in html and "<h1" not in html and "<table>" in html and "<strong>b</strong>" in html
    )
    assert 'href="https://docs.example" rel="noopener noreferrer nofollow"' in html
