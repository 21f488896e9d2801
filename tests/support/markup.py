"""Pages as a test reads them: without the white space that only lays out a template."""

import re
from itertools import zip_longest

from django.http import HttpResponse
from django.test import Client

KEPT = re.compile(
    r"(<(?:pre|textarea|script)\b.*?</(?:pre|textarea|script)>)", re.S
)  # white space counts here
TAG = re.compile(r"<[a-zA-Z][^<>]*>")
BREAK_IN_TAG = re.compile(r"(\"[^\"]*\")|\s*\n\s*(>?)")  # but not within the value of an attribute


class PageClient(Client):
    """A browser whose pages have one space within tags, and no line break between tags or at the edges of a text."""

    def request(self, **request: object) -> HttpResponse:
        response = super().request(**request)
        if response.headers.get("Content-Type", "").startswith("text/html") and not response.streaming:
            response.content = compact(response.content.decode()).encode()
        return response


def compact(html: str) -> str:
    """`html` without its layout. The contents of <pre> and <textarea> stay."""
    parts = KEPT.split(html)
    laid_out = [_without_layout(part) for part in parts[::2]]
    return "".join(text for pair in zip_longest(laid_out, parts[1::2], fillvalue="") for text in pair)


def _without_layout(html: str) -> str:
    html = TAG.sub(lambda tag: BREAK_IN_TAG.sub(lambda match: match[1] or match[2] or " ", tag[0]), html)
    html = re.sub(r">\s*\n\s*<", "><", html)
    html = re.sub(r"(<[a-zA-Z][^<>]*>)\s*\n\s*", r"\1", html)
    html = re.sub(r"\s*\n\s*(</)", r"\1", html)
    return re.sub(r"\s*\n\s*(?=[^<>]*(<|$))", " ", html)
