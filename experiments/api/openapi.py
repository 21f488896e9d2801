"""The API's description: as OpenAPI for programs, and drawn from it as a page for people."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

PRODUCT_ID = re.compile(r"^(?:(?:PAI|TD|NNI|CML)-[A-Z]\d+(?:,| to)? ?)+:? ?")
REF = "#/components/schemas/"
PROBLEM = "Problem"
LISTED = "Listed_"  # of something: {"items", "next"}


@cache
def schema() -> dict[str, Any]:
    """The OpenAPI document. Functions' texts name the product's rows; users do not know those."""
    from .api import api

    document = json.loads(json.dumps(api.get_openapi_schema()))
    for verbs in document["paths"].values():
        for operation in verbs.values():
            operation["description"] = _plain(operation.get("description", ""))
    for model in document["components"]["schemas"].values():
        model["description"] = _plain(model.get("description", ""))
    return document


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """No secret: whoever can reach the console may read how it is spoken to."""
    return HttpResponse(json.dumps(schema()), content_type="application/json")


@login_required
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """The page. Works without JavaScript, as it is only read."""
    document = schema()
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, verbs in document["paths"].items():
        for method, operation in verbs.items():
            tag = operation.get("tags", ["Other"])[0]
            groups.setdefault(tag, []).append(_operation(method, path, operation))
    shapes = sorted(document["components"]["schemas"].items())
    models = [_model(name, one) for name, one in shapes if not name.startswith(LISTED)]
    context = {
        "nav": "account",
        "groups": list(groups.items()),
        "models": models,
        "about": document["info"]["description"],
        "version": document["info"]["version"],
        "root": request.build_absolute_uri("/api/v1/"),
    }
    return render(request, "api/docs.html", context)


def _plain(text: str) -> str:
    return " ".join(PRODUCT_ID.sub("", text.strip()).split())


def _operation(method: str, path: str, operation: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "text": operation["description"],
        "parameters": [
            {
                "name": one["name"],
                "type": type_of(one["schema"]),
                "text": one.get("description", ""),
                "is_required": one["required"],
                "where": one["in"],
            }
            for one in operation["parameters"]
        ],
        "body": _refs(body) if body else [],
        "answers": [
            {
                "status": status,
                "refs": _refs(one.get("content", {})),
                "is_list": LISTED in json.dumps(one.get("content", {})),
            }
            for status, one in operation["responses"].items()
            if status.startswith("2")
        ],
        "errors": [status for status in operation["responses"] if not status.startswith("2")],
    }


def _model(name: str, model: dict[str, Any]) -> dict[str, Any]:
    required = set(model.get("required", []))
    fields = [
        {
            "name": field,
            "type": type_of(one),
            "refs": _refs(one),
            "text": one.get("description", ""),
            "is_required": field in required,
        }
        for field, one in model.get("properties", {}).items()
    ]
    return {"name": name, "text": model["description"], "fields": fields}


def _refs(schema: Any) -> list[str]:
    """The names of the models within, each once."""
    found = re.findall(f'"{REF}([^"]+)"', json.dumps(schema))
    names = (name.removeprefix(LISTED).rstrip("_") for name in found if name != PROBLEM)
    return list(dict.fromkeys(names))


def type_of(schema: dict[str, Any]) -> str:
    """A type in a few words: `text or null`, `list of Counts`.

    >>> type_of({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]})
    'list of text or null'
    """
    if "$ref" in schema:
        return schema["$ref"].removeprefix(REF)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(type_of, schema["anyOf"])))
    if "enum" in schema:
        return ", ".join(str(one) for one in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if kind == "object":
        of = schema.get("additionalProperties")
        return f"object of {type_of(of)}" if isinstance(of, dict) and of else "object"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return words.get(kind, kind or "anything")
