"""Any table encoding under constraints: a codec of the columns that are learnt in place of the source's.

The codec inside knows nothing of it. Rows are rebuilt before their texts are written and before conditions
are held against them, so that every caller sees the source's columns alone.
"""

import base64
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter
from torch import Tensor

from synthmill.config import DataConfig, dump
from synthmill.constraint_config import ConstraintConfig
from synthmill.data.batch import Batch, Condition
from synthmill.data.codecs.base import Codec, ColumnSpan, as_type, codec_class, codec_from_files
from synthmill.data.codecs.discrete import DiscreteCodec
from synthmill.data.columns import Bool, Int64, UInt64, flat, is_text, plain_type
from synthmill.data.constraints.fixed_combinations import FixedCombinations
from synthmill.data.constraints.unique import Unique
from synthmill.data.inspection import Inspection, inspect_profile
from synthmill.data.layout import MixedLayout
from synthmill.data.noise import noise_of
from synthmill.data.notes import check_target
from synthmill.data.origin import Form, origin_of
from synthmill.data.people import people_of
from synthmill.data.profile import ColumnProfile, TableProfile, profile_column
from synthmill.data.rebuilding import Plan, make_plan, refuse_rebuilt_from_new
from synthmill.data.resolution import Resolution
from synthmill.data.schema import NO_RULES, ColumnRule, Rules
from synthmill.data.summary import summarise
from synthmill.data.written import forms_of, read_texts, write_texts, written_schema
from synthmill.errors import DataError, IntegrityError, did_you_mean

FORMAT = "synthmill.codec.constrained/1"
INNER = "inner."
"""What the names of the inner codec's tensors begin with."""
SHARED_NAMES = ("name", "address")
"""Kinds of keys of which two people may have the same."""
_CONFIGS: TypeAdapter[tuple[ConstraintConfig, ...]] = TypeAdapter(tuple[ConstraintConfig, ...])


class ConstrainedCodec(Codec):
    """A fitted codec whose rows meet the constraints of its recipe."""

    profile: TableProfile
    format: ClassVar[str] = FORMAT
    """Of its files."""

    def __init__(
        self,
        inner: Codec,
        plan: Plan,
        configs: tuple[ConstraintConfig, ...],
        profile: TableProfile,
        *,
        notes: tuple[str, ...] = (),
        form: Form | None = None,
    ) -> None:
        self.inner, self.plan, self.configs, self.profile = inner, plan, configs, profile
        self.layout, self.notes = inner.layout, notes
        self.constraints = tuple(plan.constraints)
        self.schema = written_schema(plan.schema)
        self._form = form or Form(self.schema)
        for one in plan.constraints:
            if isinstance(one, FixedCombinations):
                name = plan.writers[one.columns[0]].stands_for(one.columns[0])
                one.known = pa.array(inner.levels(str(name)) or [], pa.string())
        self.checked = tuple(plan.unsure())
        self.unique = tuple(
            one for one in plan.constraints if isinstance(one, Unique) and self._may_repeat(one)
        )

    @classmethod
    def fit(cls, train: pa.Table, config: DataConfig, rules: Rules = NO_RULES) -> Self:
        """Over the `mixed` encoding; `fit_codec` fits it over that of a model."""
        return cls.around(codec_class("mixed"), train, config, rules)

    @classmethod
    def around(cls, inner: type[Codec], train: pa.Table, config: DataConfig, rules: Rules) -> Self:
        """Fitted on training rows, with a codec of the class `inner` inside."""
        plan = fitted_plan(train, config, rules)
        table, own_rules = learnt_table(plan, train, rules)
        codec = inner.fit(table, inner_config(config, plan), own_rules)
        return cls.of(codec, plan, train, config, rules, inner.resolution)

    @classmethod
    def of(
        cls,
        inner: Codec,
        plan: Plan,
        train: pa.Table,
        config: DataConfig,
        rules: Rules,
        resolution: Resolution,
    ) -> Self:
        """Around a codec that is fitted already; `train` are the source's rows, or a sample of them."""
        assert inner.profile is not None, "tables are learnt column by column"
        ids = {column.name for column in inner.profile.columns if column.kind == "identifier"}
        refuse_rebuilt_from_new(plan, ids)
        people = people_of(train, config.split.group)
        columns = []
        for name in plan.schema.names:
            if name in plan.writers:
                columns.append(_profile_of(name, flat(train[name]), rules, config, people, resolution))
            else:
                columns.append(inner.profile.column(name))
        if config.target in plan.writers:
            check_target({name: flat(train[name]) for name in train.column_names}, config, people)
        profile = TableProfile(rows=inner.profile.rows, columns=tuple(columns))
        notes = (*inner.notes, *_notes(plan, config))
        codec = cls(inner, plan, tuple(config.constraints or ()), profile, notes=notes)
        codec._form = Form.of_codec(codec.schema, origin_of(train.schema), codec._written)
        return codec

    @property
    def typed_schema(self) -> pa.Schema:
        return self.plan.schema

    @property
    def form(self) -> Form:
        return self._form

    def record_layout(self) -> MixedLayout:
        return self.inner.record_layout()

    def without(self, name: str) -> Self:
        """The same codec without a column that was there to be counted by; no constraint may name it."""
        schema = pa.schema([field for field in self.typed_schema if field.name != name])
        plan = make_plan(self.configs, schema, NO_RULES)
        plan.restore(self.plan.state())
        columns = tuple(column for column in self.profile.columns if column.name != name)
        profile = self.profile.model_copy(update={"columns": columns})
        assert isinstance(self.inner, DiscreteCodec), "only rows of several tables are counted by families"
        inner, form = self.inner.without(name), self._form.select(schema.names)
        return type(self)(inner, plan, self.configs, profile, notes=self.notes, form=form)

    def encode(self, table: pa.Table) -> Batch:
        return self.inner.encode(self.plan.learnt(self._typed(table))[0])

    def decode(self, batch: Batch, *, first_row: int) -> pa.Table:
        table = self.plan.rebuilt(self.inner.decode(batch, first_row=first_row))
        if not forms_of(self.typed_schema):
            return table
        codes, values = batch["codes"].cpu().numpy(), batch["values"].cpu().numpy()
        return write_texts(table, noise_of(batch, codes, values)(np.arange(batch.num_rows)))

    def condition_table(self, batch: Batch) -> pa.Table:
        return self.plan.rebuilt(self.inner.condition_table(batch))

    def accepts(self, table: pa.Table) -> Bool | None:
        return self.plan.held(self.checked, table) if self.checked else None

    def tuples(self, table: pa.Table) -> list[tuple[UInt64, Bool]]:
        return [one.hashes(table) for one in self.unique if isinstance(one, Unique)]

    def holds(self, table: pa.Table) -> Bool:
        return self.plan.held([one for one in self.plan.constraints if one not in self.unique], table)

    def read(self, table: pa.Table) -> pa.Table:
        return read_texts(table, self.typed_schema)

    def pack(self, batch: Batch) -> Batch:
        return self.inner.pack(batch)

    def libraries(self) -> dict[str, str]:
        return self.inner.libraries()

    def condition(self, column: str, value: str) -> Condition | None:
        """Of a column that is learnt as it is; of others several codes may mean a value."""
        return None if column in self.plan.writers else self.inner.condition(column, value)

    def column_span(self, column: str) -> ColumnSpan | None:
        step = self.plan.writers.get(column)
        inner = column if step is None else step.stands_for(column)
        return None if inner is None else self.inner.column_span(inner)

    def encode_known(self, table: pa.Table, *, field: str) -> tuple[Batch, Tensor]:
        return self.inner.encode_known(self._known(table, field), field=field)

    def decode_known(self, batch: Batch, table: pa.Table, *, first_row: int, field: str) -> pa.Table:
        learnt, drawn = self._known(table, field), self.inner.decode(batch, first_row=first_row)
        columns = {
            name: pc.coalesce(flat(learnt[name]), flat(drawn[name]))
            if name in learnt.column_names
            else drawn[name]
            for name in drawn.column_names
        }
        made = self.plan.rebuilt(pa.table(columns))
        if not forms_of(self.typed_schema):
            return made
        codes, values = batch["codes"].cpu().numpy(), batch["values"].cpu().numpy()
        return write_texts(made, noise_of(batch, codes, values)(np.arange(batch.num_rows)))

    def _known(self, table: pa.Table, field: str) -> pa.Table:
        """The learnt columns of rows that lack some cells or columns, those that are known of."""
        typed = self._known_table(table, field)
        for step in self.plan.steps:
            typed = step.implied(typed)
        learnt, _ = self.plan.learnt(typed, known=True)
        # A column that is lacking may be missing; one that is there is to be filled.
        lacking = set(self.schema.names) - set(table.column_names)
        implied = {name for name in lacking if typed[name].null_count < typed.num_rows}
        unknown = lacking - implied
        for step in self.plan.steps:
            if not set(step.writes) & set(table.column_names):
                unknown |= set(step.names())
        return learnt.drop_columns([name for name in learnt.column_names if name in unknown])

    def missing_codes(self, columns: Collection[str]) -> dict[int, int]:
        inner = [name for name in columns if name not in self.plan.writers]
        for step in self.plan.steps:
            if set(step.writes) & set(columns):
                inner += step.names()
        return self.inner.missing_codes(inner)

    def learnt_columns(self) -> list[str]:
        there = set(self.inner.learnt_columns())
        return [name for name in self.schema.names if name in there or name in self.plan.writers]

    def levels(self, column: str) -> list[str] | None:
        step = self.plan.writers.get(column)
        return self.inner.levels(column) if step is None else step.levels(column, self.inner.levels)

    def count_levels(self, column: str, array: pa.Array) -> list[int]:
        if column not in self.plan.writers:
            return self.inner.count_levels(column, array)
        counted = pc.value_counts(array.cast(pa.string())).to_pylist()
        counts = {one["values"]: one["counts"] for one in counted}
        return [counts.get(level, 0) for level in self.levels(column) or ()]

    def column_info(self, column: str) -> ColumnProfile | None:
        return self.profile.column(column) if column in self.plan.writers else self.inner.column_info(column)

    def beside(self, real: pa.Table) -> Self:
        return self._with(self.inner.beside(real))

    def beside_all(self, identifiers: Callable[[str], Iterable[pa.Array]]) -> Self:
        return self._with(self.inner.beside_all(identifiers))

    def first_free_id(self, real: pa.Table, rows: int) -> int:
        return self.inner.first_free_id(real, rows)

    def id_rooms(self) -> list[tuple[str, int]]:
        return self.inner.id_rooms()

    def inspect(self, source: str) -> Inspection:
        return inspect_profile(self.profile, self.typed_schema, {}, source, self.notes)

    def summary(self, train: pa.Table, group: str | None) -> dict[str, Any] | None:
        return summarise(train, self.profile, people_of(train, group))

    def summary_counted(self, sample: pa.Table, counts: Any) -> dict[str, Any] | None:
        told = summarise(sample, self.profile, counts.inner.people_in(sample))
        return {**told, "rows": counts.inner.rows}

    def to_files(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        config, tensors = self.inner.to_files()
        own = {
            "format": self.format,
            "constraints": [dump(one) for one in self.configs],
            "state": self.plan.state(),
            "profile": self.profile.model_dump(mode="json"),
            "arrow_schema": base64.b64encode(self.typed_schema.serialize().to_pybytes()).decode(),
            "inner": config,
        }
        if not self._form.is_plain(self.schema):
            own["form"] = self._form.to_json()
        return own, {f"{INNER}{name}": tensor for name, tensor in tensors.items()}

    @classmethod
    def from_files(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Self:
        """
        Raises:
            IntegrityError: a format this version does not know.
        """
        if config.get("format") != cls.format:
            raise IntegrityError(
                f"codec.json has format {config.get('format')!r}; this version reads {cls.format!r}"
            )
        configs = _CONFIGS.validate_python(config["constraints"])
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(config["arrow_schema"])))
        plan = make_plan(configs, schema, NO_RULES)
        plan.restore(config["state"])
        inner = codec_from_files(
            config["inner"], {name.removeprefix(INNER): tensor for name, tensor in tensors.items()}
        )
        profile = TableProfile.model_validate(config["profile"])
        form = Form.from_json(config["form"]) if "form" in config else None
        return cls(inner, plan, configs, profile, form=form)

    def _with(self, inner: Codec) -> Self:
        codec = type(self)(inner, self.plan, self.configs, self.profile, notes=self.notes, form=self._form)
        return codec

    def _typed(self, table: pa.Table) -> pa.Table:
        columns = []
        for column in self.typed_schema:
            array = flat(table[column.name])
            columns.append(array if array.type == column.type else array.cast(column.type))
        return pa.table(columns, schema=self.typed_schema)

    def _written(self, name: str) -> list[str] | None:
        """The texts that a column can hold, as its form is told them."""
        if name in forms_of(self.typed_schema):
            return None
        profile = self.profile.column(name)
        is_new = profile.kind == "identifier" and (
            profile.template is None or profile.template.style != "uuid"
        )
        return None if is_new else self.levels(name)

    def _may_repeat(self, constraint: Unique) -> bool:
        """Whether none of the columns is new in each row."""
        for name in constraint.columns:
            profile = self.profile.column(name)
            template = profile.template if profile.kind == "identifier" else None
            if template is not None and (template.key or {}).get("kind") not in SHARED_NAMES:
                return False
        return True

    def _known_table(self, table: pa.Table, field: str) -> pa.Table:
        """All columns, typed; those that the table lacks are missing.

        Raises:
            DataError: a column that the model does not know, or of another type.
        """
        names = self.schema.names
        odd = next((name for name in table.column_names if name not in names), None)
        if odd is not None:
            what = f"has a column {odd!r}, which the model does not know{did_you_mean(odd, names)}"
            raise DataError(f"{what}; leave it out, or rename it", field=field)
        arrays = [
            as_type(flat(table[column.name]), column, field)
            if column.name in table.column_names
            else pa.nulls(table.num_rows, column.type)
            for column in self.schema
        ]
        return self._typed(self.read(pa.table(arrays, schema=self.schema)))


def fit_codec(encoding: str, train: pa.Table, config: DataConfig, rules: Rules = NO_RULES) -> Codec:
    """The codec of an encoding, under the constraints of the recipe.

    Raises:
        DataError: as `Codec.fit`.
    """
    cls = codec_class(encoding)
    return (
        ConstrainedCodec.around(cls, train, config, rules)
        if config.constraints
        else cls.fit(train, config, rules)
    )


def fitted_plan(train: pa.Table, config: DataConfig, rules: Rules) -> Plan:
    """How the learnt columns are made of the source's, as these rows have them."""
    fields = [pa.field(field.name, plain_type(field.type), metadata=field.metadata) for field in train.schema]
    plan = make_plan(config.constraints, pa.schema(fields), rules, config.split.group)
    plan.fit(train, people_of(train, config.split.group))
    return plan


def learnt_table(plan: Plan, train: pa.Table, rules: Rules) -> tuple[pa.Table, dict[str, ColumnRule]]:
    """What the codec inside is fitted on, and what is known of its columns."""
    table, own = plan.learnt(train)
    kept = {name: rule for name, rule in rules.items() if name not in plan.writers}
    for name in plan.keys:
        rule = kept.get(name, ColumnRule())
        if rule.kind is None:
            kept[name] = rule.model_copy(update={"kind": "identifier"})
    return table, {**kept, **own}


def inner_config(config: DataConfig, plan: Plan) -> DataConfig:
    """The recipe as the codec inside is told it."""
    target = None if config.target in plan.writers else config.target
    return config.model_copy(update={"constraints": None, "target": target})


def _profile_of(
    name: str, array: pa.Array, rules: Rules, config: DataConfig, people: Int64 | None, resolution: Resolution
) -> ColumnProfile:
    """What charts and reports should know of a rebuilt column: it is never an identifier."""
    whole = pa.types.is_integer(array.type)
    kind: Any = "categorical" if is_text(array.type) else "integer" if whole else None
    rule = rules.get(name, ColumnRule(kind=kind))
    try:
        return profile_column(name, array, rule, config, people, resolution=resolution)
    except DataError:
        # Each value is rare, and only their combinations are learnt.
        return ColumnProfile(
            name=name, kind="categorical", arrow_type=str(array.type), missing_rows=array.null_count
        )


def _notes(plan: Plan, config: DataConfig) -> tuple[str, ...]:
    notes = [f"constraint: {one.text}" for one in plan.constraints]
    if config.target in plan.writers:
        notes.append(
            f"the target {config.target!r} is rebuilt as a constraint says, so the model does not know it as"
            " its target"
        )
    return tuple(notes)
