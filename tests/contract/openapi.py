"""The exchange's OpenAPI file as a judge of responses."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

SHARED = Path(__file__).parents[3] / "shared"
OPENAPI = SHARED / "kalshi" / "openapi-trading.yaml"
ABSENT = f"needs {OPENAPI}, which is not part of the repository"

_AMOUNT_PATTERNS = {
    "FixedPointDollars": r"^-?\d+\.\d{4}(\d{2})?$",
    "FixedPointCount": r"^-?\d+\.\d{2}$",
}
"""What responses print, tighter than the file, which says only "string"."""

_TIME_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$"


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document with its schemas turned into JSON Schema."""
    loaded = yaml.safe_load(OPENAPI.read_text())
    for name, pattern in _AMOUNT_PATTERNS.items():
        loaded["components"]["schemas"][name]["pattern"] = pattern
    translated: dict[str, Any] = _translate(loaded)
    return translated


def _translate(node: Any) -> Any:
    """Turn OpenAPI 3.0's `nullable` into a null type, and closed sets of times into patterns."""
    if isinstance(node, list):
        return [_translate(item) for item in node]
    if not isinstance(node, dict):
        return node
    found = {key: _translate(value) for key, value in node.items()}
    if found.get("format") == "date-time":
        found["pattern"] = _TIME_PATTERN
    if not found.pop("nullable", False):
        return found
    if "$ref" in found or "allOf" in found:
        return {"anyOf": [found, {"type": "null"}]}
    found["type"] = [found["type"], "null"]
    return found


def operations() -> dict[str, tuple[str, str]]:
    """Return method and path of every operation by its id."""
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }


def complaints(operation_id: str, status: int, body: Any, content_type: str | None) -> list[str]:
    """Return what is wrong with a response; a 429 may come from everywhere."""
    method, path = operations()[operation_id]
    responses = document()["paths"][path][method.lower()]["responses"]
    if status == 429:
        return []
    if str(status) not in responses:
        return [f"{operation_id}: status {status} is not documented"]
    response = responses[str(status)]
    if "$ref" in response:
        response = document()["components"]["responses"][response["$ref"].rpartition("/")[2]]
    content = response.get("content")
    if content is None:
        # An error without a documented body has one of the shapes all the same; a success must then be empty.
        return [f"{operation_id}: {status} has a body"] if status < 300 and body is not None else []
    if content_type != "application/json":
        return [f"{operation_id}: content type {content_type}"]
    schema = content["application/json"]["schema"] | {"components": document()["components"]}
    errors = Draft202012Validator(schema).iter_errors(body)
    return [f"{operation_id}: {error.json_path}: {error.message:.200}" for error in errors]
