"""Markdown of users and scripts as HTML, without scripts, images, styles and forms."""

from __future__ import annotations

from functools import cache

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

LONGEST = 200_000  # characters; the rest is left out
TAGS = {
    "a", "blockquote", "br", "code", "del", "em", "h3", "h4", "h5", "hr", "li", "ol", "p", "pre", "s", "strong",
    "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}}
SCHEMES = {"http", "https", "mailto"}
HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h5", "h5": "h5", "h6": "h5"}  # below those of the page


def rendered(text: str) -> SafeString:
    """Return the text as sanitized HTML, with headings below those of the page. Raw HTML in it is shown as text."""
    tokens = _parser().parse(text[:LONGEST])
    html = _parser().renderer.render([_lowered(token) for token in tokens], _parser().options, {})
    clean = nh3.clean(
        html,
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes=SCHEMES,
        link_rel="noopener noreferrer nofollow",
        strip_comments=True,
    )
    return mark_safe(clean)  # noqa: S308 (sanitized in the line above)


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")


def _lowered(token: Token) -> Token:
    token.tag = HEADINGS.get(token.tag, token.tag)
    return token


def without_links(html: SafeString) -> SafeString:
    """Return rendered Markdown with plain text in place of links."""
    return mark_safe(nh3.clean(html, tags=TAGS - {"a"}, attributes={"ol": {"start"}}))  # noqa: S308 (sanitized)
