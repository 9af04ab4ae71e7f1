"""The public API: exactly what it is, that importing costs nothing, that no Ray is needed."""

import inspect
import json
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import synthmill

SIGNATURES = Path(__file__).parent / "signatures.txt"
"""Every public name with its signature. A change here is a change for users: say so in CHANGELOG.md."""


def public() -> list[str]:
    lines = []
    for name in synthmill.__all__:
        thing = getattr(synthmill, name)
        if inspect.isfunction(thing):
            lines.append(f"{name}{inspect.signature(thing)}")
            continue
        lines.append(f"class {name}")
        if name not in ("Model", "Report"):
            continue
        for member, value in sorted(vars(thing).items()):
            value = (
                getattr(value, "func", None)
                or getattr(value, "fget", None)
                or getattr(value, "__func__", value)
            )
            if inspect.isfunction(value) and not member.startswith("_"):
                lines.append(f"    {member}{inspect.signature(value)}")
    return lines


def test_the_public_api_is_what_it_was() -> None:
    assert "\n".join(public()) + "\n" == SIGNATURES.read_text()


def test_the_public_api_takes_and_returns_no_any() -> None:
    from synthmill import api
    from synthmill.library import recipes

    for name in synthmill.__all__:
        thing = getattr(synthmill, name)
        if inspect.isfunction(thing):
            assert not any(p.kind is p.VAR_KEYWORD for p in inspect.signature(thing).parameters.values())
            from synthmill.runtime.evaluate import Evaluation
            from synthmill.runtime.tune import Tuned

            names = {**vars(recipes), **vars(api), "Evaluation": Evaluation, "Tuned": Tuned}
            hints = typing.get_type_hints(thing, names)
            assert typing.Any not in hints.values()
            assert set(inspect.signature(thing).parameters) <= set(hints)


def fresh(code: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_imports_nothing_else(tmp_path: Path) -> None:
    code = "import sys, json; before = set(sys.modules); import synthmill; dir(synthmill);"
    found = json.loads(fresh(f"{code} print(json.dumps(sorted(set(sys.modules) - before)))", tmp_path))
    assert [name for name in found if name.partition(".")[0] not in sys.stdlib_module_names] == ["synthmill"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = synthmill.nothing  # type: ignore[attr-defined]


NO_RAY = """
import sys
import pandas
import synthmill

rows = pandas.DataFrame({"age": [20 + i % 50 for i in range(300)], "income": ["low", "high", "low"] * 100})
model = synthmill.fit(rows, target="income", overrides={"training.max_steps": 3})
drawn = model.sample(100, where="income=high", seed=7)
report = synthmill.evaluate(drawn, train=rows[:200], holdout=rows[200:], target="income", profile="quick")
report.show()
saved = model.save("store", name="ages")
assert synthmill.load(saved.ref, store="store").sample(50, seed=1).num_rows == 50
print([name for name in sys.modules if name.partition(".")[0] == "ray"])
"""


def test_fit_sample_evaluate_and_save_need_no_ray(tmp_path: Path) -> None:
    assert fresh(NO_RAY, tmp_path).splitlines()[-1] == "[]"
