"""Documentation of the API: the OpenAPI document, and a page generated from it."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

REF = "#/components/schemas/"
PROBLEM = "Problem"
PAGE = "Page_"  # prefix of the names of lists: {"items", "next"}


@cache
def schema() -> dict[str, Any]:
    """Return the OpenAPI document, with each description on one line."""
    from ..api import api

    document = json.loads(json.dumps(api.get_openapi_schema()))
    for verbs in document["paths"].values():
        for operation in verbs.values():
            operation["description"] = _one_line(operation.get("description", ""))
    for model in document["components"]["schemas"].values():
        model["description"] = _one_line(model.get("description", ""))
    return document


@require_safe
def openapi(request: HttpRequest) -> HttpResponse:
    """Serve the OpenAPI document. The document is public."""
    return HttpResponse(json.dumps(schema()), content_type="application/json")


@login_required
@require_safe
def show(request: HttpRequest) -> HttpResponse:
    """Serve the documentation page."""
    document = schema()
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, verbs in document["paths"].items():
        for method, operation in verbs.items():
            tag = operation.get("tags", ["Other"])[0]
            groups.setdefault(tag, []).append(_operation(method, path, operation))
    shapes = sorted(document["components"]["schemas"].items())
    models = [_model(name, model) for name, model in shapes if not name.startswith(PAGE)]
    context = {
        "nav": "account",
        "groups": list(groups.items()),
        "models": models,
        "about": document["info"]["description"],
        "version": document["info"]["version"],
        "root": request.build_absolute_uri("/api/v1/"),
    }
    return render(request, "api/docs.html", context)


def _one_line(text: str) -> str:
    return " ".join(text.split())


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
                "name": parameter["name"],
                "type": type_of(parameter["schema"]),
                "text": parameter.get("description", ""),
                "is_required": parameter["required"],
                "where": parameter["in"],
            }
            for parameter in operation["parameters"]
        ],
        "body": _refs(body) if body else [],
        "responses": [
            {
                "status": status,
                "refs": _refs(response.get("content", {})),
                "is_list": PAGE in json.dumps(response.get("content", {})),
            }
            for status, response in operation["responses"].items()
            if status.startswith("2")
        ],
        "errors": [status for status in operation["responses"] if not status.startswith("2")],
    }


def _model(model_name: str, model: dict[str, Any]) -> dict[str, Any]:
    required = set(model.get("required", []))
    fields = [
        {
            "name": name,
            "type": type_of(field),
            "refs": _refs(field),
            "text": field.get("description", ""),
            "is_required": name in required,
        }
        for name, field in model.get("properties", {}).items()
    ]
    return {"name": model_name, "text": model["description"], "fields": fields}


def _refs(schema: Any) -> list[str]:
    """Return the names of the models within, each once."""
    matches = re.findall(f'"{REF}([^"]+)"', json.dumps(schema))
    names = (name.removeprefix(PAGE).rstrip("_") for name in matches if name != PROBLEM)
    return list(dict.fromkeys(names))


def type_of(schema: dict[str, Any]) -> str:
    """Return a type in a few words: `string or null`, `list of Counts`.

    >>> type_of({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]})
    'list of string or null'
    """
    if "$ref" in schema:
        return schema["$ref"].removeprefix(REF)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(type_of, schema["anyOf"])))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"object of {type_of(values)}" if isinstance(values, dict) and values else "object"
    if kind is None:
        return "any"
    return {"integer": "integer", "boolean": "true or false"}.get(kind, str(kind))
