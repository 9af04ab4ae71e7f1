"""Other rows to judge by: train and validation rows dealt out anew for each seed of the repeats.

A search looks at the same validation rows all the time, and what scores best on them does so by luck as well:
repeats that changed the seed alone would repeat that luck, and their bound would not know of it.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from synthmill.config import Recipe, dump, parse_model
from synthmill.data.codecs.constrained import fit_codec
from synthmill.data.split import split_table

if TYPE_CHECKING:
    from synthmill.runtime.trial import Shared


def other_fold(shared: "Shared", seed: int) -> "Shared":
    """The same search on another division of the rows that it may see; the holdout's are not among them.

    Sides keep their sizes. Codecs are fitted again, as they have seen rows that are validation rows now. Of a
    source that is read in blocks the encoded rows stay, and others of the validation rows are judged by.
    """
    recipe = parse_model(Recipe, shared.recipe)
    if shared.shards:
        judged = recipe.model_copy(update={"tune": recipe.tune.model_copy(update={"seed": seed})})
        return replace(shared, recipe=dump(judged), fold=seed)
    tables = shared.tables
    seen = pa.concat_tables([tables.train, tables.validation])
    shares = {"validation": tables.validation.num_rows / seen.num_rows, "holdout": 0.0}
    config = recipe.data.split.model_copy(update={**shares, "seed": seed})
    dealt = split_table(seen, config, sha256=tables.split.source_sha256)
    codecs = {
        name: fit_codec(name, dealt.train, recipe.data, shared.rules).beside(seen).to_files()
        for name in shared.codecs
    }
    return replace(shared, tables=dealt, codecs=codecs, fold=seed)
