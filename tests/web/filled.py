"""A form as a browser would send it: read from the page, not from what the server thinks that it drew."""

from __future__ import annotations

from html.parser import HTMLParser


class Filled(HTMLParser):
    """`fields`: what the main form of a page holds. Buttons are left out; templates are not part of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._is_in, self._is_template, self._select, self._area = False, False, "", ""
        self.feed(html)

    def handle_starttag(self, tag: str, pairs: list[tuple[str, str | None]]) -> None:
        attributes = dict(pairs)
        if tag == "form":
            self._is_in = attributes.get("id") == "experiment-form"
        if tag == "template":
            self._is_template = True
        if not self._is_in or self._is_template:
            return
        name, value = attributes.get("name") or "", attributes.get("value") or ""
        if (
            tag == "input"
            and name
            and (attributes.get("type") not in ("checkbox", "radio") or "checked" in attributes)
        ):
            self.fields[name] = value or ("on" if attributes.get("type") == "checkbox" else "")
        if tag == "select":
            self._select = name
        if tag == "option" and self._select and ("selected" in attributes or self._select not in self.fields):
            self.fields[self._select] = attributes.get("value", "")
        if tag == "option" and "value" not in attributes and "selected" in attributes:
            self._area = f"option:{self._select}"
            self.fields[self._select] = ""
        if tag == "textarea" and name:
            self._area, self.fields[name] = name, ""

    def handle_data(self, data: str) -> None:
        if self._area.startswith("option:"):
            self.fields[self._area.removeprefix("option:")] += data
        elif self._area:
            self.fields[self._area] += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("textarea", "option"):
            if tag == "textarea" and self._area:
                # A browser drops the first line break of a textarea, and sends the others as CR LF.
                text = self.fields[self._area].removeprefix("\n")
                self.fields[self._area] = text.replace("\n", "\r\n")
            self._area = ""
        if tag == "select":
            self._select = ""
        if tag == "template":
            self._is_template = False
        if tag == "form":
            self._is_in = False


def filled(response: object) -> dict[str, str]:
    """What the browser would send of this page if nobody touched it."""
    fields = Filled(response.content.decode()).fields
    assert fields, "there is no form to fill in"
    return fields
