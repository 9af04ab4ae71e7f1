"""Training in this process: recipes, overrides, interrupts, progress; models that are saved and loaded."""

import io
import os
import signal
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console

import synthmill
from synthmill.catalog.admin import verify
from synthmill.config import load_recipe, parse_model
from synthmill.errors import NotFoundError, RecipeError, ResourceError
from synthmill.library import display
from synthmill.library.model import SAMPLE_KEY
from synthmill.library.recipes import read_recipe
from tables import customers

SMALL = {
    "model.name": "tvae",
    "model.config": {"embedding_dim": 8, "compress_dims": [32], "decompress_dims": [32]},
    "training.max_steps": 6,
    "training.global_batch_rows": 100,
}

ENDLESS = {**SMALL, "training.max_steps": 10_000_000, "training.patience_checks": "never"}


@pytest.fixture(scope="module")
def model() -> synthmill.Model:
    return synthmill.fit(customers(400), target="churned", name="customers", overrides=SMALL, progress=False)


def test_the_same_rows_and_recipe_give_the_same_model(model: synthmill.Model) -> None:
    again = synthmill.fit(customers(400), target="churned", name="customers", overrides=SMALL)
    assert again.digest == model.digest
    assert again.sample(100, seed=3).equals(model.sample(100, seed=3))


def test_a_fresh_seed_is_recorded_and_repeats_the_rows(model: synthmill.Model) -> None:
    first, second = model.sample(50), model.sample(50)
    assert not first.equals(second)
    told = yaml.safe_load(first.schema.metadata[SAMPLE_KEY.encode()])
    assert told["model"] == "customers"
    assert model.sample(50, seed=told["seed"]).equals(first)


def test_sampled_rows_say_that_they_are_synthetic_also_in_parquet(
    model: synthmill.Model, tmp_path: Path
) -> None:
    pq.write_table(model.sample(20, seed=1), tmp_path / "rows.parquet")
    metadata = pq.read_schema(tmp_path / "rows.parquet").metadata
    assert metadata[b"iptc.digitalSourceType"].endswith(b"trainedAlgorithmicMedia")
    assert b'"Label": "1"' in metadata[b"AIGC"]


def test_conditions_and_columns(model: synthmill.Model) -> None:
    rows = model.sample(30, where=("churned=true", "age>=30"), columns=["age", "churned"], seed=2)
    assert rows.column_names == ["age", "churned"]
    assert set(rows["churned"].to_pylist()) == {True}
    assert min(rows["age"].to_pylist()) >= 30


def test_a_saved_model_loads_verifies_and_samples_the_same(model: synthmill.Model, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    version = model.save(store)
    assert version.ref == "customers@1"
    assert verify(version.uri) == []
    assert synthmill.load("customers", store=store).sample(80, seed=5).equals(model.sample(80, seed=5))
    renamed = synthmill.load(model.save(store, name="other").ref, store=store)
    assert (renamed.name, renamed.ref, renamed.recipe.name) == ("other", "other@1", "other")
    with pytest.raises(RecipeError, match="name: 'Not A Name'"):
        model.save(store, name="Not A Name")


def test_the_environment_names_the_store(
    model: synthmill.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save(str(tmp_path / "elsewhere"))
    monkeypatch.setenv("SYNTHMILL_STORE", str(tmp_path / "elsewhere"))
    assert synthmill.load("customers@1").ref == "customers@1"
    with pytest.raises(NotFoundError, match=r"model: no model named 'customer'.*did you mean 'customers'\?"):
        synthmill.load("customer")


def test_a_model_is_saved_to_s3(model: synthmill.Model, s3_store: str) -> None:
    assert synthmill.load(model.save(s3_store).ref, store=s3_store).sample(10, seed=1).num_rows == 10


def content() -> dict[str, object]:
    return {"name": "iris", "data": {"source": "sklearn://iris"}, "model": {"name": "marginals"}}


@pytest.mark.parametrize("form", ["dict", "recipe", "path", "file"])
def test_overrides_apply_whatever_form_a_recipe_has(form: str, tmp_path: Path) -> None:
    path = tmp_path / "iris.yaml"
    path.write_text(yaml.safe_dump(content()))
    forms = {
        "dict": content(),
        "recipe": parse_model(synthmill.Recipe, content()),
        "path": str(path),
        "file": path,
    }
    for overrides in (["training.seed=3", "name=x"], {"training.seed": 3, "name": "x"}):
        recipe = read_recipe(forms[form], overrides)  # type: ignore[arg-type]
        assert (recipe.training.seed, recipe.name) == (3, "x")
        fitted = synthmill.fit(forms[form], target="target", overrides=overrides)  # type: ignore[arg-type]
        assert (fitted.recipe.training.seed, fitted.name, fitted.recipe.data.target) == (3, "x", "target")
    assert content() == {"name": "iris", "data": {"source": "sklearn://iris"}, "model": {"name": "marginals"}}


def test_a_shipped_recipe_by_name() -> None:
    assert synthmill.fit("demo", model="marginals", overrides={"model.config": {}}).name == "breast-cancer"
    assert read_recipe("demo") == load_recipe("demo")


def test_a_section_in_overrides_completes_that_of_the_recipe() -> None:
    fitted = synthmill.fit(
        customers(200), overrides={**SMALL, "data": {"trim": False}, "training": {"seed": 3}}
    )
    assert fitted.recipe.training.seed == 3
    assert fitted.recipe.training.max_steps == 6
    assert not fitted.recipe.data.trim


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.sead": 3}, "training.sead: unknown key; did you mean 'seed'?"),
        (["training"], "--set: expected key=value, got 'training'"),
        ("training.seed=3", "overrides: expected a list of key=value or a mapping"),
        ({"training.seed": object()}, "overrides: Object of type object is not JSON"),
        ({"model.name": "ctgam"}, "model.name: no model named 'ctgam'; did you mean 'ctgan'?"),
        ({"training.workers": 0}, "training.workers: "),
    ],
)
def test_wrong_overrides_are_one_line(overrides: object, message: str) -> None:
    with pytest.raises((RecipeError, NotFoundError), match=message):
        synthmill.fit(customers(50), overrides=overrides)  # type: ignore[arg-type]


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ResourceError, match=r"training.device: no CUDA device on this machine"):
        synthmill.fit(customers(50), overrides={"training.device": "cuda"})


class _Interrupt:
    """Presses Ctrl-C once, when the loop first reports a step."""

    def __init__(self) -> None:
        self.pressed = False

    def __call__(self, *records: object) -> None:
        if not self.pressed and any("step" in record for record in records if isinstance(record, dict)):
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_keeps_the_best_so_far(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A shell that starts the tests in the background has them ignore SIGINT.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(display.Bar, "log", _Interrupt())
    fitted = synthmill.fit(customers(400), overrides=ENDLESS)
    assert fitted.interrupted
    assert 0 < fitted.artifact.config["training"]["steps"] < 100_000
    assert "stopped by hand" in repr(fitted)
    assert fitted.sample(10, seed=1).num_rows == 10
    assert "the best weights until then are kept" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, inherited)


def test_a_thread_can_train() -> None:
    done: list[synthmill.Model] = []
    table = customers(200)
    thread = threading.Thread(target=lambda: done.append(synthmill.fit(table, overrides=SMALL)))
    thread.start()
    thread.join()
    assert len(done) == 1
    assert not done[0].interrupted


def test_the_bar_is_for_people_alone(capsys: pytest.CaptureFixture[str]) -> None:
    synthmill.fit(customers(200), overrides=SMALL)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    terminal = io.StringIO()
    with display.Bar(10, None, Console(file=terminal, force_terminal=True)) as bar:
        bar.log({"step": 4, "quality": {"score": 0.5}})
        bar.log({"message": "[bold] is no markup"})
    assert "4/10" in terminal.getvalue()
    assert "score 0.500" in terminal.getvalue()
    assert "[bold] is no markup" in terminal.getvalue()


def test_a_notebook_shows_a_table_and_no_markup_of_the_data(model: synthmill.Model) -> None:
    assert "<td style='text-align:left'>churned</td>" in model._repr_html_()
    odd = synthmill.fit(pa.table({"<script>": list(range(100))}), target="<script>", model="marginals")
    assert "<script>" not in odd._repr_html_()


def test_what_is_saved_holds_no_row_of_the_training_data(tmp_path: Path) -> None:
    names = [f"Zebedee{i}" for i in range(300)]
    fitted = synthmill.fit(pa.table({"name": names, "age": [i % 60 for i in range(300)]}), model="marginals")
    version = fitted.save(str(tmp_path))
    saved = b"".join(path.read_bytes() for path in Path(version.uri.removeprefix("file://")).iterdir())
    assert b"Zebedee17" not in saved


def test_the_kind_of_data_is_what_the_model_learns() -> None:
    assert synthmill.fit(content()).recipe.data.kind == "table"
    with pytest.raises(RecipeError, match=r"data.kind: marginals learns table, not image"):
        synthmill.fit(content(), overrides={"data.kind": "image"})
