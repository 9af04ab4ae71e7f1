"""Rows of which some cells are given, read for a model that completes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from synthmill.config import DataConfig, StorageConfig, parse_model
from synthmill.data.columns import is_text, plain_table
from synthmill.errors import UserError

if TYPE_CHECKING:
    from synthmill.generation.generator import Generator

FIELD = "--given"


@dataclass(frozen=True)
class GivenRows:
    """What a file holds."""

    table: pa.Table
    uri: str
    sha256: str
    """Of the file's bytes."""


def read_given(generator: "Generator", uri: str, settings: StorageConfig) -> GivenRows:
    """The rows of a file, with what is text to the model as text: codes with leading zeros, amounts with
    their currency.

    Raises:
        DataError: a file that can't be read.
    """
    from synthmill.data.files import read_files

    learnt = parse_model(DataConfig, generator.config["recipe"]["data"])
    texts = frozenset(column.name for column in generator.codec.schema if is_text(column.type))
    config = DataConfig(source=uri, null_values=learnt.null_values, trim=learnt.trim)
    found = read_files(uri, config, settings, keep_text=texts)
    return GivenRows(plain_table(found.table).replace_schema_metadata(None), uri, found.sha256)


def check_given(
    generator: "Generator", given: GivenRows, rows: int | None, refused: Mapping[str, object]
) -> None:
    """
    Raises:
        UserError: a model that can't complete rows, no rows, another number of `rows` than there are, or an
        option of `refused` that can't be given with them.
    """
    from synthmill.generation.completing import refuse_incomplete

    refuse_incomplete(generator, "--model")
    for option, value in refused.items():
        if value:
            raise UserError(
                f"can't be given with {FIELD}, whose rows say what is wanted; leave it out", field=option
            )
    if generator.codec.unique:
        raise UserError(
            f"given cells decide what rows hold, and {generator.codec.unique[0].text} must hold; train"
            " without this constraint to complete rows",
            field=FIELD,
        )
    found = given.table.num_rows
    if not found:
        raise UserError(f"{given.uri} holds no rows", field=FIELD)
    if rows is not None and rows != found:
        raise UserError(f"is {rows:,}, but {given.uri} holds {found:,} rows; leave it out", field="--rows")
    # Columns that the model does not know, and cells of another type, before any work.
    generator.codec.encode_known(given.table, field=FIELD)
