"""The OpenAPI document against the server: no input finds a 5xx, and answers are as documented."""

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from http_app import Running

load_all_checks()
OPERATIONS = 10
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("number", range(OPERATIONS))
def test_no_input_finds_a_fault(local_server: Running, number: int):
    schema = schemathesis.openapi.from_url(f"{local_server.url}/openapi.json")
    operation = list(schema.get_all_operations())[number].ok()

    @given(
        case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    )
    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        derandomize=True,
        database=None,
    )
    def attack(case: schemathesis.Case) -> None:
        if (
            isinstance(case.body, dict)
            and isinstance(case.body.get("num_rows"), int)
            and case.body["num_rows"] > 2000
        ):
            case.body["num_rows"] = 2000  # As valid, and not slow.
        case.call_and_validate(checks=CHECKS, timeout=120)

    attack()


def test_every_operation_documents_its_errors_and_the_key(client: httpx.Client):
    document = client.get("/openapi.json").json()
    assert document["security"] == [{"key": []}]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == OPERATIONS
    for operation in operations:
        assert {"401", "403", "422", "429"} <= set(operation["responses"])
        assert operation["description"]
    fields = document["components"]["schemas"]["RowsRequest"]["properties"]
    assert all(field.get("description") for field in fields.values())
