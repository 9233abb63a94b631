"""The OpenAPI document, judged by others: it is valid, and the live service answers as it says."""

import hypothesis
import pytest
import schemathesis
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    positive_data_acceptance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.serving import Running

from understudy.serve.routes import PAGES, ROUTES

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    response_headers_conformance, negative_data_rejection, positive_data_acceptance, unsupported_method,
]  # fmt: skip
EXAMPLES = 20  # of each operation and mode


def test_every_schema_is_one(service: Running) -> None:
    """Each is valid JSON Schema 2020-12, which OpenAPI 3.1 means, and every reference leads somewhere."""
    document = service.ask("GET", "/openapi.json").json
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)

    def references(value: object) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for inner in value.values() for found in references(inner)]
        return [found for inner in value for found in references(inner)] if isinstance(value, list) else []

    found = references(document)
    assert found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def conform(service: Running, path: str, mode: GenerationMode, examples: int) -> None:
    """Requests that fit the document, or break it, and answers that must be those it names."""
    schema = schemathesis.openapi.from_url(f"{service.url}/openapi.json")
    method = next(route.method for route in (*ROUTES, *PAGES) if route.path == path)
    operation = schema[path][method]

    @hypothesis.settings(max_examples=examples, deadline=None, database=None, derandomize=True,
                         suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def holds(case: schemathesis.Case) -> None:
        reply = case.call()
        large = [negative_data_rejection] if reply.status_code == 413 else []  # a refusal that this check does not know
        case.validate_response(reply, checks=CHECKS, excluded_checks=large)

    holds()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fits", "breaks"])
@pytest.mark.parametrize("path", [route.path for route in ROUTES if route.takes is not None])
def test_requests_made_from_the_document(service: Running, path: str, mode: GenerationMode) -> None:
    """What fits is taken, what does not is refused; statuses, types and bodies are the documented ones."""
    conform(service, path, mode, EXAMPLES)


@pytest.mark.parametrize("path", [route.path for route in ROUTES if route.takes is None])
def test_pages_without_a_body(service: Running, path: str) -> None:
    """The same for what takes nothing."""
    conform(service, path, GenerationMode.POSITIVE, 2)
