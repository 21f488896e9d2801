"""The template tag `memoized`: HTML that depends on a few values only, and is rendered once for each combination.

Built into all templates (settings.py), so no `load` is needed.
"""

from __future__ import annotations

import re
from typing import Any

from django import template
from django.template import Context, Node, NodeList, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token
from django.urls import get_script_prefix
from django.utils.safestring import SafeString

register = template.Library()

PATH = re.compile(r"[A-Za-z]\w*(\.\w+)*")
MOST = 500  # combinations of values whose HTML is kept, per block and process
PLAIN = frozenset({str, SafeString, int, bool, type(None)})


class MemoizedNode(Node):
    def __init__(self, nodelist: NodeList, paths: dict[str, FilterExpression]) -> None:
        self.nodelist = nodelist
        self._paths = paths
        self._html: dict[tuple[object, ...], SafeString] = {}

    def render(self, context: Context) -> SafeString:
        values = [path.resolve(context, ignore_failures=True) for path in self._paths.values()]
        # Types are part of the key: text that is safe as HTML equals the same text that is not, and True equals 1.
        types = [type(value) for value in values]
        if not PLAIN.issuperset(types):
            named = ", ".join(
                f"{path} is a {kind.__name__}" for path, kind in zip(self._paths, types, strict=True)
            )
            raise TypeError(f"memoized takes text, whole numbers, True, False and None: {named}.")
        key = (get_script_prefix(), *values, *types)
        html = self._html.get(key)
        if html is None:
            html = self._render_alone(context, values)
            if len(self._html) >= MOST:
                self._html.clear()
            self._html[key] = html
        return html

    def _render_alone(self, context: Context, values: list[Any]) -> SafeString:
        """Render the block with these values only, so that its HTML can contain nothing else of the page."""
        alone: dict[str, Any] = {}
        for path, value in zip(self._paths, values, strict=True):
            *objects, name = path.split(".")
            holder = alone
            for part in objects:
                holder = holder.setdefault(part, {})
            holder[name] = value
        block_context = Context(alone, context.autoescape, context.use_l10n, context.use_tz)
        assert context.template, "a node is rendered with its template"
        block_context.template = context.template
        with block_context.render_context.push_state(context.template):
            return self.nodelist.render(block_context)


@register.tag
def memoized(parser: Parser, token: Token) -> MemoizedNode:
    """Render a block once for each combination of values: `{% memoized nav user.username %} ... {% endmemoized %}`.

    Within the block, only these variables exist, under the same names: there is no request, no user and no CSRF token.
    They are text, whole numbers, True, False or None. Apart from them, tags in the block may depend only on the
    installation: they must not show times or make queries.
    """
    name, *paths = token.split_contents()
    if wrong := [path for path in paths if not PATH.fullmatch(path)]:
        raise TemplateSyntaxError(f"{name} takes names of variables, without filters, not {wrong[0]}")
    nodelist = parser.parse((f"end{name}",))
    parser.delete_first_token()
    return MemoizedNode(nodelist, {path: parser.compile_filter(path) for path in paths})
