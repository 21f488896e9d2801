"""The web process remembers where addresses lead."""

from __future__ import annotations

import pytest
from django.urls import Resolver404, get_resolver

from console import wsgi


def test_an_address_leads_to_the_same_view_with_its_own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = get_resolver()
    monkeypatch.setattr(resolver, "resolve", resolver.resolve)  # so that it is restored
    before = {
        path: resolver.resolve(path) for path in ("/w/lab/experiments/", "/w/team/experiments/", "/healthz")
    }
    wsgi.import_pages()
    for _ in range(2):
        for path, match in before.items():
            again = resolver.resolve(path)
            assert (again.func, again.args, again.kwargs) == (match.func, match.args, match.kwargs)
        with pytest.raises(Resolver404):
            resolver.resolve("/w/lab/nothing/here/")
    assert resolver.resolve("/healthz") is resolver.resolve("/healthz")
