"""The service described by itself: OpenAPI 3.1, made from the types that decode and from the problem that is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from understudy import __version__
from understudy.core.problem import Feature, Problem
from understudy.data.context import FLOAT32_MAX
from understudy.serve.engine import SMALLEST
from understudy.serve.exchange import MANY, ONE
from understudy.serve.outcomes import bounded
from understudy.serve.refusal import REFUSALS
from understudy.serve.routes import SAID, Route
from understudy.serve.strict import MAX_BATCH, MAX_KEYS, MAX_NUMBER

_REF = "#/components/schemas/{name}"
_ERROR = {
    "type": "object",
    "description": "What is wrong, what it means and what to do next.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {name: {"type": "string"} for name in ("kind", "message", "hint", "field")},
            "required": ["kind", "message", "hint", "field"],
        }
    },
    "required": ["error"],
}
_BODY = (400, 408, 413, 415, 422)  # what a body can be refused with
_WAIT = (429, 503)


def document(routes: Sequence[Route], problem: Problem, *, client_times: bool = False) -> bytes:
    """The OpenAPI document, as JSON."""
    types = [kind for route in routes for kind in (route.takes, route.gives) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    found = dict(zip(map(repr, types), schemas))
    _problem(components, problem, client_times)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, found)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "understudy", "version": __version__, "description": _ABOUT},
            "paths": paths,
            "components": {
                "schemas": {**components, "Error": _ERROR},
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


_ABOUT = (
    "Decisions with their exact probabilities, written down durably before they are answered. Requests that carry "
    "ids may be sent again without harm. Keys are needed once any have been made, and always beyond loopback."
)


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    name = f"{route.method.lower()}{route.path.replace('/', '_').replace('.', '_')}"
    made: dict[str, Any] = {
        "operationId": name,
        "summary": SAID.get(route.path, ""),
        "responses": _responses(route, schemas),
    }
    if route.scope is not None:
        made["description"] = f"Needs a key with the scope `{route.scope}`, once there are keys."
        made["security"] = [{}, {"key": []}]
    if route.takes is not None:
        batch = route.path.endswith("/batch")
        schema = dict(schemas[repr(route.takes)])
        if batch:
            schema |= {"minItems": 1, "maxItems": MAX_BATCH}
        made["requestBody"] = {
            "required": True,
            "description": f"At most {MANY if batch else ONE:,} bytes; no key twice in an object.",
            "content": {"application/json": {"schema": schema}},
        }
    return made


def _responses(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    kind = {"/metrics": "text/plain"}.get(route.path, "application/json")
    schema = {"type": "string"} if kind == "text/plain" else schemas.get(repr(route.gives), {"type": "object"})
    if route.gives is None and route.path in ("/", "/dashboard"):
        kind, schema = "text/html", {"type": "string"}
    said: dict[str, Any] = {"200": {"description": "Done.", "content": {kind: {"schema": schema}}}}
    codes = {405, 500} | ({401, 403} if route.scope else set())
    if route.takes is not None:
        codes |= {*_BODY, *_WAIT, 404, 409, 507}
    if route.path in ("/ready", "/policy/reload", "/dashboard/data.json"):
        codes.add(503)
    for code in sorted(codes):
        said[str(code)] = {
            "description": REFUSALS[code],
            "content": {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}},
        }
        if code in (*_WAIT, 507):
            said[str(code)]["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}}}
    return said


def _problem(components: dict[str, Any], problem: Problem, client_times: bool) -> None:
    """Names, kinds and ranges of this problem, instead of "any features, any actions"."""
    asked, actions = components["DecideRequest"], {"type": "string", "enum": list(problem.actions.names)}
    fields = asked["properties"]
    fields["context"] = {
        "type": "object",
        "properties": {f.name: _feature(f) for f in problem.features} | dict.fromkeys(problem.ignore, _ANY),
        "required": [f.name for f in problem.features if not f.optional],
        "additionalProperties": False,
        "maxProperties": MAX_KEYS,
    }
    fields["allowed"] = {"anyOf": [{"type": "array", "items": actions, "minItems": 1}, {"type": "null"}]}
    fields["baseline"] = {"anyOf": [actions, {"type": "null"}]}
    fields["propensity"] = {"anyOf": [{"type": "number", "minimum": SMALLEST, "maximum": 1}, {"type": "null"}]}
    fields["t"] |= {"minimum": 0, "maximum": (problem.horizon or 2**31) - 1}
    for name, needed in (
        ("episode_id", not problem.bandit or problem.unit == "episode"),
        ("unit_id", problem.unit == "unit"),
    ):
        if needed:
            asked["required"] = [*asked["required"], name]
            fields[name] = fields[name]["anyOf"][0]
    reward = components["RewardRequest"]
    components["RewardRequest"] = reward | {"anyOf": [_outcome(problem, name) for name in problem.outcome_names]}
    if not client_times:
        for name in ("DecideRequest", "RewardRequest", "ActivateRequest"):
            components[name]["properties"]["time"] = {"type": "null"}


def _outcome(problem: Problem, name: str) -> dict[str, Any]:
    """What a value of this outcome may be; one that names no outcome is of "reward"."""
    value = {"type": "number", "exclusiveMinimum": -MAX_NUMBER, "exclusiveMaximum": MAX_NUMBER}
    if name == problem.reward and bounded(problem):
        low, high = problem.reward_range
        value = {"type": "number", "minimum": low, "maximum": high}
    made: dict[str, Any] = {"properties": {"name": {"const": name}, "value": value}}
    return made if name == "reward" else made | {"required": ["name"]}


_TEXT = {"type": "string", "pattern": r"^[^\u0000]*$"}
_ANY = {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}, _TEXT]}


def _feature(feature: Feature) -> dict[str, Any]:
    if feature.kind == "number":
        made: dict[str, Any] = {"type": "number", "minimum": -FLOAT32_MAX, "maximum": FLOAT32_MAX}
    elif feature.kind == "boolean":
        made = {"type": "boolean"}
    else:
        made = _TEXT if feature.open else {"type": "string", "enum": list(feature.values)}
    return {"anyOf": [made, {"type": "null"}]} if feature.optional else made
