"""A component without a test of its own is not a component."""

from pathlib import Path

import pytest

from synthmill import registry

TESTS = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("kind", ["models", "metrics/table", "metrics/image", "metrics/common"])
def test_every_component_has_a_test_of_its_own(kind: str) -> None:
    missing = [name for name in registry.names(kind) if not (TESTS / kind / f"test_{name}.py").is_file()]
    assert not missing, f"write tests/{kind}/test_<name>.py for {missing}"
