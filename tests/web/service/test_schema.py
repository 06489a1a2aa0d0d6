"""Requests made from the OpenAPI schema, right ones and wrong ones: every answer is one that the schema promises."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from tests.web.service.calling import Served

OPERATIONS = [
    ("/v1/detect", "post"),
    ("/v1/classify", "post"),
    ("/v1/features", "post"),
    ("/v1/model", "get"),
    ("/healthz", "get"),
    ("/metrics", "get"),
]

RIGHT = [(path, method, GenerationMode.POSITIVE) for path, method in OPERATIONS]
WRONG = [(path, method, GenerationMode.NEGATIVE) for path, method in OPERATIONS if method == "post"]


@pytest.fixture(scope="module")
def schema(served: Served) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{served.address}/openapi.json")


def test_every_operation_is_tried(schema: schemathesis.BaseSchema) -> None:
    assert {(each.ok().path, each.ok().method) for each in schema.get_all_operations()} == set(OPERATIONS)


@pytest.mark.parametrize(("path", "method", "mode"), [*RIGHT, *WRONG])
def test_every_answer_is_promised(
    schema: schemathesis.BaseSchema, path: str, method: str, mode: GenerationMode
) -> None:
    @settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=schema[path][method].as_strategy(generation_mode=mode))
    def one(case: schemathesis.Case) -> None:
        # What an image is, or boxes in JSON, no schema can say: random bytes are right by it and refused.
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    one()
