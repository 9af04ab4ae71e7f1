"""`synthmill init`: the recipe says what the file holds, loads, and trains."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

import synthmill
from customers import write_customers
from jobs import command
from synthmill.config import load_recipe


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def messy(path: Path) -> Path:
    """The customers with a column of every kind that can't be learnt, and patients with three rows each."""
    lines = write_customers(path, rows=300).read_text().splitlines()
    rows = [f"{line},the {i}th of many long notes,,P{i // 3}" for i, line in enumerate(lines[1:])]
    path.write_text("\n".join([f"{lines[0]},note: what,empty,patient_id", *rows]) + "\n")
    return path


def test_a_table(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messy(here / "My Customers.csv")
    code, line, errors = command(capsys, "init", "My Customers.csv")
    assert code == 0, errors
    assert line["recipe"] == "my-customers.yaml"
    assert (line["target"], sorted(line["dropped"])) == ("churned", ["empty", "note: what"])
    recipe = load_recipe("my-customers.yaml")
    assert (recipe.data.target, recipe.data.split.group) == ("churned", "patient_id")
    text = Path("my-customers.yaml").read_text()
    assert "customer: identifier" in text
    assert '"note: what": left out: free text' in text
    assert "empty: left out: has only missing values" in text
    fitted = synthmill.fit("my-customers.yaml", overrides={"training.max_steps": 2})
    assert fitted.name == "my-customers"
    assert set(fitted.schema.names) & {"note: what", "empty"} == set()


def test_what_is_there_is_not_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_customers(here / "c.csv", rows=50)
    (here / "c.yaml").write_text("precious")
    code, _, errors = command(capsys, "init", "c.csv")
    assert (code, "--output: c.yaml is there already" in errors) == (2, True)
    assert (here / "c.yaml").read_text() == "precious"
    code, _, errors = command(capsys, "init", "c.csv", "--force")
    assert code == 0, errors
    code, line, _ = command(
        capsys, "init", "c.csv", "--output", "sub/other.yaml", "--name", "other", "--target", "plan"
    )
    assert (code, line["target"], load_recipe("sub/other.yaml").name) == (0, "plan", "other")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.csv"], "no file or folder with data at none.csv"),
        (["c.csv", "--target", "churnd"], "--target: no column named 'churnd'; did you mean 'churned'?"),
        (["c.csv", "--name", "Not A Name"], "--name: 'Not A Name' is not a name"),
        (["empty.csv"], "empty.csv is empty"),
        (["keys.csv"], "keys.csv has no column that can be learnt"),
        (["c.csv", "--output", "c.csv/r.yaml"], "--output: c.csv/r.yaml can't be written"),
    ],
)
def test_mistakes(here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    write_customers(here / "c.csv", rows=50)
    (here / "empty.csv").touch()
    (here / "keys.csv").write_text("id\n" + "\n".join(map(str, range(50))) + "\n")
    code, _, errors = command(capsys, "init", *arguments)
    assert code == 2
    assert message in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("name", ["yes", "a: b", "# c", 'say "x"', "new\nline", "%s", "\u00e9t\u00e9", "{x}"])
def test_any_column_name_makes_yaml_that_reads_back(
    here: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    columns = {name: ["a", "b"] * 50, "age": list(range(100)), f"{name} 2": [[1]] * 100}
    pq.write_table(pa.table(columns), "odd.parquet")
    code, _, errors = command(capsys, "init", "odd.parquet", "--target", name)
    assert code == 0, errors
    assert load_recipe("odd.yaml").data.target == name
    schema = yaml.safe_load(Path("odd.schema.yaml").read_text())
    assert schema["columns"] == {f"{name} 2": {"kind": "drop"}}
    assert synthmill.fit("odd.yaml", model="marginals", overrides={"model.config": {}}).schema.names == [
        name,
        "age",
    ]


def test_a_number_is_no_target_unless_its_name_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"age": [i % 70 for i in range(200)], "height": [150 + i % 50 for i in range(200)]}
    pq.write_table(pa.table(rows), "t.parquet")
    assert command(capsys, "init", "t.parquet")[1]["target"] is None
    pq.write_table(pa.table({"price": rows["height"], **rows}), "t.parquet")
    assert command(capsys, "init", "t.parquet", "--force")[1]["target"] == "price"


def test_a_folder_of_images(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for number in range(40):
        path = here / "shots" / ("cat" if number % 2 else "dog") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(path)
    code, _, errors = command(capsys, "init", "shots")
    assert code == 0, errors
    recipe = load_recipe("shots.yaml")
    assert (recipe.data.kind, recipe.data.image.size, recipe.data.image.channels) == ("image", 16, 3)
    assert "Classes: 2." in Path("shots.yaml").read_text()
    fitted = synthmill.fit("shots.yaml", overrides={"training.max_steps": 2})
    assert fitted.sample(3, seed=1).column_names == ["image", "label"]


def test_images_in_parquet(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = synthmill.fit("digits_vae", overrides={"training.max_steps": 2, "model.config": {}}).sample(
        60, seed=1
    )
    pq.write_table(drawn, "digits.parquet")
    assert command(capsys, "init", "digits.parquet")[0] == 0
    recipe = load_recipe("digits.yaml")
    assert (recipe.data.kind, recipe.data.image.size, recipe.data.target) == ("image", 8, "label")
