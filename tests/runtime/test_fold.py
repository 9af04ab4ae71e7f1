"""Repeats are judged by other validation rows, and by no holdout row."""

from pathlib import Path

import pyarrow as pa

from evidence import people
from synthmill.config import Recipe, dump, parse_model
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.split import split_table
from synthmill.runtime.fold import other_fold
from synthmill.runtime.trial import Shared, without_holdout
from synthmill.storage.folder import Folder
from synthmill.tuning.scoring import Scorer

ROW = "row"


def shared_rows(tmp_path: Path) -> tuple[Shared, Recipe, set[int]]:
    """Rows that carry their number, and the numbers of the holdout's."""
    raw = {
        "name": "people",
        "data": {"source": "people", "kind": "table", "target": "outcome"},
        "model": {"name": "tvae"},
    }
    recipe = parse_model(Recipe, raw)
    table = people(1000, 1)
    table = table.append_column(ROW, pa.array(range(table.num_rows)))
    tables = split_table(table, recipe.data.split, sha256="0" * 64)
    codec = MixedCodec.fit(tables.train, recipe.data, {})
    shared = Shared(
        recipe=dump(recipe),
        folder=Folder(tmp_path),
        tables=without_holdout(tables),
        codecs={"mixed": codec.to_files()},
        missing=(),
        environment={},
    )
    return shared, recipe, numbers(tables.holdout)


def numbers(table: pa.Table) -> set[int]:
    return set(table[ROW].to_pylist())


def test_another_fold_deals_out_the_same_rows(tmp_path: Path) -> None:
    shared, _, holdout = shared_rows(tmp_path)
    first, second, again = other_fold(shared, 1), other_fold(shared, 2), other_fold(shared, 1)
    seen = numbers(shared.tables.train) | numbers(shared.tables.validation)
    for fold in (first, second):
        train, validation = numbers(fold.tables.train), numbers(fold.tables.validation)
        assert len(validation) == shared.tables.validation.num_rows
        assert train | validation == seen
        assert not train & validation
        assert not seen & holdout
        assert fold.tables.holdout.num_rows == 0
    # The recipe's validation rows are most of neither.
    old = numbers(shared.tables.validation)
    assert len(old & numbers(first.tables.validation)) < len(old) / 2
    assert numbers(first.tables.validation) != numbers(second.tables.validation)
    # The same for every configuration: what is compared is paired.
    assert again.tables.validation == first.tables.validation
    assert again.codecs["mixed"][0] == first.codecs["mixed"][0]


def test_a_codec_of_another_fold_has_seen_its_training_rows_alone(tmp_path: Path) -> None:
    shared, recipe, _ = shared_rows(tmp_path)
    fold = other_fold(shared, 1)
    alone = MixedCodec.fit(fold.tables.train, recipe.data, {}).beside(
        pa.concat_tables([shared.tables.train, shared.tables.validation])
    )
    assert fold.codecs["mixed"][0] == alone.to_files()[0]
    assert fold.codecs["mixed"][0] != shared.codecs["mixed"][0]
    # And what judges there is another judge.
    sample = people(600, 5).append_column(ROW, pa.array(range(600)))
    judges = [Scorer(recipe, part.tables, alone) for part in (shared, fold)]
    assert judges[0](sample) != judges[1](sample)
