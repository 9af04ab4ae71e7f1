"""Forms: what is written reads as the same value again, whatever the values; what is found is stated in
JSON."""

from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthmill import registry
from synthmill.data.forms._words import MONTH_START, month_names
from synthmill.data.forms.angle import AngleForm
from synthmill.data.forms.base import FOLDER, Form, Hint, form_from_json
from synthmill.data.forms.digits import DigitsForm
from synthmill.data.forms.duration import DurationForm
from synthmill.data.forms.epoch import EpochForm
from synthmill.data.forms.moment import MomentForm
from synthmill.data.forms.number import NumberForm
from synthmill.data.forms.scientific import ScientificForm
from synthmill.data.forms.script import ScriptForm
from synthmill.data.forms.several import SeveralForm
from synthmill.data.recognise import recognise
from synthmill.data.written import form_of, read_texts, with_form, write_texts
from synthmill.errors import IntegrityError

ENGLISH = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

numbers = st.builds(
    NumberForm,
    decimal=st.just(","),
    thousands=st.sampled_from(["", ".", " ", "'", "\u00a0", "\u202f"]),
    prefix=st.sampled_from(["", "$", "CHF ", "\u20ac"]),
    suffix=st.sampled_from(["", "%", " kg", " \u20ac"]),
    negative=st.sampled_from(["lead", "inner", "trail", "parens"]),
    plus=st.booleans(),
    decimals=st.integers(0, 4),
    fixed=st.booleans(),
    zero=st.booleans(),
)
moments = st.builds(
    lambda day, clock, zone: MomentForm.model_validate(
        {
            "pattern": day + clock + zone,
            "unit": "s" if clock else "D",
            "months": ENGLISH,
            "halves": ("AM", "PM"),
            "zone": "UTC" if zone and clock else None,
        }
    ),
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%-m/%-d/%Y", "%d%b%Y", "%b %-d, %Y", "%Y%m%d"]),
    st.sampled_from(["", " %H:%M:%S", "T%H:%M:%S", " %I:%M:%S %p", " %-I:%M:%S %p"]),
    st.sampled_from(["", " UTC"]),
)


@settings(max_examples=150, deadline=None)
@given(numbers, st.lists(st.integers(-(10**10), 10**10), min_size=1, max_size=30))
def test_any_number_reads_as_it_was_written(form: NumberForm, units: list[int]) -> None:
    values = [unit / 10**form.decimals if form.decimals else unit for unit in units]
    texts = form.write(pa.array(values))
    read = form.parse(texts)
    assert read.null_count == 0, texts
    assert np.allclose(read.to_numpy(zero_copy_only=False), values, rtol=1e-12, atol=0)
    assert form.write(read).equals(texts)


@settings(max_examples=150, deadline=None)
@given(moments, st.lists(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)), min_size=1, max_size=30))
def test_any_moment_reads_as_it_was_written(form: MomentForm, values: list[datetime]) -> None:
    whole = [value.replace(microsecond=0) for value in values]
    typed = pa.array(whole, pa.timestamp("s")).cast(form.type, safe=False)
    texts = form.write(typed)
    assert form.parse(texts).equals(typed)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=20), st.booleans(), st.booleans())
def test_any_duration_reads_as_it_was_written(seconds: list[int], days: bool, zeros: bool) -> None:
    typed = pa.array(seconds, pa.duration("s"))
    for form in (
        DurationForm(days=" days " if days else "", padded=zeros),
        DurationForm(days=" days, ", plural=True, padded=zeros),
        DurationForm(style="units", units=("d", "h", "m", "s"), zeros=zeros),
        DurationForm(style="units", units=("h", "m", "s"), zeros=zeros, digits=2),
        DurationForm(style="units", units=(" hours", " min", " sec"), gap=", ", zeros=zeros),
        DurationForm(style="iso", units=("D", "H", "M", "S")),
    ):
        texts = form.write(typed)
        assert form.parse(texts).equals(typed), (form, texts)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-179 * 3600, 179 * 3600), min_size=1, max_size=20), st.booleans())
def test_any_angle_reads_as_it_was_written(seconds: list[int], padded: bool) -> None:
    typed = pa.array([value / 3600 for value in seconds])
    form = AngleForm(axis="EW", marks=("\u00b0", "'", '"'), sexagesimal=True, padded=padded)
    texts = form.write(typed)
    assert np.allclose(form.parse(texts).to_numpy(), typed.to_numpy(), atol=1e-9)
    assert form.write(form.parse(texts)).equals(texts)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=40))
def test_any_texts_are_read_refused_or_left(cells: list[str]) -> None:
    column = pa.chunked_array([pa.array(cells, pa.string())])
    reading = recognise("x", column, Hint())
    assert len(reading.column) == len(cells)
    if reading.form is not None:
        assert reading.column.combine_chunks().type != pa.string()
    elif reading.fault is not None or reading.column.type == pa.string():
        assert reading.fault is None or reading.column.equals(column)


def test_text_that_is_no_value_is_missing() -> None:
    assert NumberForm(prefix="$", decimals=2).parse(pa.array(["$1.50", "1.50", None, "$x"])).to_pylist() == [
        1.5,
        None,
        None,
        None,
    ]
    assert MomentForm(pattern="%d.%m.%Y").parse(pa.array(["29.02.2023", "29.02.2024"])).to_pylist() == [
        None,
        date(2024, 2, 29),
    ]
    assert DigitsForm(width=3).parse(pa.array(["007", "7"])).to_pylist() == [7, None]


def test_several_forms_are_drawn_as_often_as_in_the_source() -> None:
    parts = (MomentForm(pattern="%Y-%m-%d"), MomentForm(pattern="%d.%m.%Y"))
    form = SeveralForm(forms=tuple(part.to_json() for part in parts), shares=(0.75, 0.25))
    days = pa.array([date(2020, 1, 1) + timedelta(days=i % 900) for i in range(4000)])
    noise = np.arange(4000, dtype=np.uint64)
    texts = form.write(days, noise)
    assert form.parse(texts).equals(days)
    assert abs(sum("." in text for text in texts.to_pylist()) / 4000 - 0.25) < 0.03
    assert form.write(days.slice(50, 10), noise[50:60]).equals(texts.slice(50, 10))


@pytest.mark.parametrize("name", registry.names(FOLDER))
def test_every_form_goes_through_json_and_a_schema(name: str) -> None:
    made: dict[str, Form] = {
        "number": NumberForm(prefix="$", thousands=",", decimals=2),
        "moment": MomentForm(pattern="%d.%m.%Y"),
        "duration": DurationForm(),
        "angle": AngleForm(decimals=3),
        "digits": DigitsForm(width=5),
        "epoch": EpochForm(),
        "scientific": ScientificForm(decimals=3),
        "script": ScriptForm(zero="\u0660", inner=NumberForm(decimals=1).to_json()),
        "several": SeveralForm(
            forms=(NumberForm().to_json(), NumberForm(plus=True).to_json()), shares=(0.5, 0.5)
        ),
    }
    form = made[name]
    assert form_from_json(form.to_json()) == form
    typed = form.parse(pa.array([part.strip() for part in form.example.split(" or ")]))
    assert typed.null_count == 0
    schema = pa.schema([with_form(pa.field("x", typed.type), form, pa.large_string())])
    again = pa.ipc.read_schema(pa.py_buffer(schema.serialize().to_pybytes()))
    assert form_of(again.field("x")) == form
    written = write_texts(pa.table([typed], schema=schema))
    assert written.schema.field("x").type == pa.large_string()
    assert read_texts(written, schema)["x"].combine_chunks().equals(typed)


def test_a_form_of_a_later_version_is_refused_by_name() -> None:
    with pytest.raises(IntegrityError, match="'roman'"):
        form_from_json({"form": "roman"})


def test_names_of_months_begin_as_it_is_said() -> None:
    """Or words that are months would be passed over."""
    assert all(MONTH_START.match(name) for names in month_names() for name in names)
    assert MONTH_START.match("city") is None
