"""A trained model in a notebook or a script: rows on demand, saved to a store, loaded from one. No Ray."""

import hashlib
import json
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from synthmill.catalog.artifact import Artifact, read_artifact, write_artifact
from synthmill.catalog.manifest import Parent
from synthmill.catalog.provenance import AIGC_KEY, SOURCE_TYPE_KEY, aigc, produce_id, source_type
from synthmill.catalog.store import Store, Version, check_name
from synthmill.config import Recipe, StorageConfig, dump, fingerprint, parse_model
from synthmill.generation.completing import complete, log_prob, predict_proba
from synthmill.generation.continuing import Ahead, forecast, published
from synthmill.generation.generator import Generator
from synthmill.library.display import model_html, model_text
from synthmill.library.frames import ArrowStream, to_table
from synthmill.models.base import model_class
from synthmill.storage.formats import format_name
from synthmill.training.card import model_card

SAMPLE_KEY = "synthmill.sample"
SEED_BITS = 53
"""Fresh seeds stay exact in JSON and JavaScript, whose numbers are doubles."""


@dataclass(frozen=True)
class Model:
    """What `fit` and `load` return."""

    artifact: Artifact
    """Configuration, weights, codec, history and card: what `save` writes; no training row is in it."""
    ref: str | None = None
    """`adult@1` for a model that is in a store."""
    digest: str = ""
    """Content digest of the stored artifact; for a model that is not stored, of its weights and codec."""

    @classmethod
    def of(cls, artifact: Artifact) -> "Model":
        """A model that is in no store; its digest says which weights and codec it has."""
        digest = hashlib.sha256(json.dumps(artifact.codec, sort_keys=True).encode())
        for name, tensor in sorted(artifact.weights.items()):
            digest.update(f"{name}\x1e".encode() + tensor.detach().contiguous().numpy().tobytes())
        return cls(artifact, digest=digest.hexdigest())

    @classmethod
    def load(cls, version: Version) -> "Model":
        """Read and verify a version of kind `models`.

        Raises:
            IntegrityError: a file's bytes changed; names the file.
        """
        return cls(read_artifact(version), version.ref, version.manifest.content_digest)

    def sample(
        self,
        num_rows: int | None = None,
        *,
        sequences: int | None = None,
        where: str | Sequence[str] = (),
        seed: int | None = None,
        columns: Sequence[str] | None = None,
        latent: Mapping[str, float] | None = None,
    ) -> pa.Table:
        """`num_rows` synthetic rows that meet every clause of `where` ("income=>50K", "age>=40", ...), or
        all rows of so many `sequences`, of a model that was trained with `data.group_by`.

        With a seed, the same rows every time, and the first rows of a published dataset with that seed.
        Without one, new rows each time. The table's metadata says that it is synthetic, from which model and
        with which seed; it travels into Parquet files.

        Raises:
            ConditionError: a clause can't be parsed, names no column or value, or is hardly ever met.
        """
        wanted = self.generator.wanted(num_rows, sequences, field="num_rows", other="sequences")
        drawn = secrets.randbits(SEED_BITS) if seed is None else seed
        clauses = (where,) if isinstance(where, str) else tuple(where)
        rows = self.generator.sample(
            wanted,
            seed=drawn,
            where=clauses,
            columns=None if columns is None else list(columns),
            latent=latent,
        )
        # As a published dataset has them: categories with their levels, numbers of classes, a frame's types.
        rows = self.generator.codec.form.select(rows.column_names).write(rows)
        more = {"where": clauses, "latent": dict(latent or {})}
        return self._labelled(rows, drawn, mixed=False, **more)

    def complete(self, rows: ArrowStream, *, seed: int | None = None) -> pa.Table:
        """A row for each of `rows`, in order, with all columns of the model: cells that are there stay as
        they are, to the bit, and the others are drawn given them. Columns that `rows` lacks may be missing as
        they are in the training rows.

        Raises:
            UserError: the model can't complete rows; says which can.
            DataError: a column that the model does not know, or whose cells are of another type.
        """
        drawn = secrets.randbits(SEED_BITS) if seed is None else seed
        given = to_table(rows, field="rows")
        return self._labelled(complete(self.generator, given, seed=drawn, field="rows"), drawn, mixed=True)

    def forecast(
        self,
        history: ArrowStream,
        steps: int,
        *,
        rows_per: int = 1,
        where: str | Sequence[str] = (),
        seed: int | None = None,
    ) -> pa.Table:
        """The next `steps` rows of each sequence in `history`, which holds some rows of each key: with their
        keys, in order of their first rows. Columns but for key and order may be lacking.

        Of each sequence `rows_per` futures are drawn, one after the other and numbered by a column `future`
        where there are several. `where` chooses sequences by what their rows share; of a column that the
        history lacks it says what futures have.

        Raises:
            UserError: the model was not trained with `data.group_by`.
            DataError: a history without key or order, with a column that the model does not know, or with a
            sequence longer than any that it learnt.
            ConditionError: a clause on a column that changes, or that no sequence meets.
        """
        drawn = secrets.randbits(SEED_BITS) if seed is None else seed
        given = to_table(history, field="history")
        clauses = (where,) if isinstance(where, str) else tuple(where)
        ahead = Ahead(steps=steps, futures=rows_per, where=clauses)
        rows = forecast(self.generator, given, ahead, seed=drawn, field="history")
        more = {"steps": steps, "rows_per": rows_per, "where": clauses}
        return self._labelled(published(self.generator.codec, rows), drawn, mixed=True, **more)

    def impute(self, rows: ArrowStream, *, seed: int | None = None) -> pa.Table:
        """The same columns and rows with every missing cell filled by what goes with the cells that are
        there, which stay as they are, to the bit. Raises as `complete`."""
        filled = self.complete(rows, seed=seed)
        return filled.select(to_table(rows, field="rows").column_names)

    def log_prob(self, rows: ArrowStream) -> pa.FloatArray:
        """The logarithm of each row's probability, in order: low for rows unlike those of training. Raises as
        `complete`, and for a column that `rows` lacks."""
        return pa.array(log_prob(self.generator, to_table(rows, field="rows"), field="rows"))

    def predict_proba(self, column: str, rows: ArrowStream) -> pa.Table:
        """Probabilities of a categorical column's levels given each row's other cells, a column a level, rows
        in order; columns may be lacking or missing. Raises as `complete`."""
        return predict_proba(self.generator, column, to_table(rows, field="rows"), field="rows")

    def _labelled(self, rows: pa.Table, seed: int, *, mixed: bool, **more: object) -> pa.Table:
        """The rows with metadata that say that a model made them, or part of them."""
        told = {
            "format": format_name("sample", 1),
            "model": self.ref or self.name,
            "model_digest": self.digest,
            "seed": seed,
            "rows": rows.num_rows,
            **more,
        }
        return rows.replace_schema_metadata(
            {
                **(rows.schema.metadata or {}),
                SOURCE_TYPE_KEY: source_type(mixed=mixed),
                AIGC_KEY: json.dumps(aigc(produce_id(fingerprint(told)))),
                SAMPLE_KEY: json.dumps(told, sort_keys=True),
            }
        )

    def save(self, store: str, *, name: str | None = None, storage: StorageConfig | None = None) -> Version:
        """Publish as the next version of `name` (default: the model's own) in a folder or at
        `s3://bucket/prefix`.

        Raises:
            RecipeError: a name that can't name a model.
            StorageError: the store can't be written.
        """
        artifact = self.artifact if name is None else self._named(check_name(name, field="name"))
        recipe, config = _recipe_of(artifact), artifact.config
        parents = (
            Parent(kind="source", ref=config["source"]["uri"], digest=config["source"]["sha256"]),
            Parent(kind="recipe", ref=recipe.name, digest=config["recipe_fingerprint"]),
        )
        key = fingerprint({"recipe": dump(recipe), "digest": self.digest})
        target = Store(store, storage or recipe.storage)
        with target.begin("models", recipe.name, run_key=key, run_id=uuid.uuid4().hex) as draft:
            files = write_artifact(draft.folder, artifact)
            manifest = draft.manifest(
                files=files,
                parents=parents,
                seed=recipe.training.seed,
                contains_training_rows=model_class(recipe.model.name).copies_training_rows,
                details={
                    "model": recipe.model.name,
                    "training": config["training"],
                    **({"choice": config["choice"]} if "choice" in config else {}),
                },
            )
            return draft.commit(manifest)

    @property
    def name(self) -> str:
        """The name it is saved under."""
        return self.recipe.name

    @cached_property
    def recipe(self) -> Recipe:
        """Everything that determined the training run."""
        return _recipe_of(self.artifact)

    @property
    def schema(self) -> pa.Schema:
        """Columns of sampled rows."""
        return self.generator.codec.form.schema

    @property
    def quality(self) -> Mapping[str, float]:
        """Figures of the chosen weights on the validation rows; empty where nothing was measured."""
        found = self.artifact.config["training"].get("quality") or {}
        return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}

    @property
    def interrupted(self) -> bool:
        """Whether training was stopped by hand, with the best weights until then."""
        return bool(self.artifact.config["training"].get("interrupted"))

    @cached_property
    def generator(self) -> Generator:
        """Network and codec, for callers inside the package."""
        return Generator.of(self.artifact, ref=self.ref or self.name, digest=self.digest)

    def __repr__(self) -> str:
        return model_text(self.artifact, self.ref)

    def _repr_html_(self) -> str:
        return model_html(self.artifact, self.ref)

    def _named(self, name: str) -> Artifact:
        """The artifact with another name in its recipe, fingerprint and card."""
        recipe = self.recipe.model_copy(update={"name": name})
        plain = dump(recipe)
        config = {**self.artifact.config, "recipe": plain, "recipe_fingerprint": fingerprint(plain)}
        return Artifact(
            config=config,
            weights=self.artifact.weights,
            codec=self.artifact.codec,
            codec_tensors=self.artifact.codec_tensors,
            history=self.artifact.history,
            card=model_card(recipe, config),
        )


def _recipe_of(artifact: Artifact) -> Recipe:
    return parse_model(Recipe, artifact.config["recipe"])
