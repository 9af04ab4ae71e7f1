"""Conditions: parsed at the leftmost operator, checked against what a codec can make, applied to tables."""

import datetime
from decimal import Decimal
from types import SimpleNamespace

import pyarrow as pa
import pytest

from synthmill.config import DataConfig
from synthmill.data.batch import Condition
from synthmill.data.codecs.mixed import MixedCodec
from synthmill.data.schema import ColumnRule
from synthmill.errors import ConditionError
from synthmill.generation.clauses import Clause, parse_where, quoted
from synthmill.generation.condition import Where
from synthmill.models.base import GenerativeModel
from tables import customers


@pytest.fixture(scope="module")
def codec() -> MixedCodec:
    return MixedCodec.fit(customers(1000), DataConfig(source="x"))


@pytest.mark.parametrize(
    ("text", "clause"),
    [
        ("income=>50K", ("income", "=", ">50K")),
        ("income=<=50K", ("income", "=", "<=50K")),
        ("age>=30", ("age", ">=", "30")),
        ("age<=30", ("age", "<=", "30")),
        ("age!=30", ("age", "!=", "30")),
        ("age>30", ("age", ">", "30")),
        ("age < -3.5", ("age", "<", "-3.5")),
        ("a<b=c", ("a", "<", "b=c")),
        ("name=O'Brien, Pat", ("name", "=", "O'Brien, Pat")),
        (" hours per week = 40 ", ("hours per week", "=", "40")),
        ("x==1", ("x", "=", "=1")),
    ],
)
def test_the_leftmost_operator_splits(text: str, clause: tuple[str, str, str]) -> None:
    assert parse_where(text) == Clause(*clause)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age", "'age' compares nothing; write COLUMN=VALUE, or use one of != <= >= = < >"),
        ("=5", "'=5' has no column; write COLUMN=VALUE"),
        ("age>=", "'age>=' has no value; write COLUMN>=VALUE"),
    ],
)
def test_what_is_no_condition(text: str, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parse_where(text)
    assert str(caught.value) == f"--where: {message}"


TABLE = pa.table(
    {
        "i": pa.array([1, 2, None, 2**53 + 1]),
        "f": pa.array([0.5, -1.0, None, 2.0]),
        "s": pa.array(["a", " b", None, ">50K"]),
        "b": pa.array([True, False, None, True]),
        "d": pa.array([datetime.date(2024, 1, day) for day in (1, 2, 3)] + [None], pa.date32()),
        "t": pa.array(
            [datetime.datetime(2024, 1, 1, hour) for hour in (1, 2, 3)] + [None], pa.timestamp("ns")
        ),
        "z": pa.array(
            [datetime.datetime(2024, 1, 1, hour) for hour in (1, 2, 3)] + [None], pa.timestamp("s", "UTC")
        ),
        "m": pa.array([Decimal("1.10"), Decimal("2.20"), None, Decimal("0.30")], pa.decimal128(9, 2)),
        "c": pa.array(["a", "b", None, "a"]).dictionary_encode(),
        "u": pa.array([0, 2**64 - 1, None, 5], pa.uint64()),
        "f32": pa.array([0.1, 0.2, None, 0.3], pa.float32()),
        "t32": pa.array([0, 8 * 3600, None, 86399], pa.int32()).cast(pa.time32("s")),
        "t64": pa.array([0, 28_800_500_000, None, 86_399_999_999]).cast(pa.time64("us")),
        "span": pa.array([0, 90, None, -5]).cast(pa.duration("s")),
    }
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("i=2", [1]),
        ("i!=2", [0, 3]),
        ("i>1.5", [1, 3]),
        (f"i={2**53 + 1}", [3]),
        (f"i={2**53}", []),
        ("f<=0.5", [0, 1]),
        ("f!=2", [0, 1]),
        ("s=>50K", [3]),
        ("s=b", [1]),
        ("s!=a", [1, 3]),
        ("b=true", [0, 3]),
        ("b!=1", [1]),
        ("d>=2024-01-02", [1, 2]),
        ("d=2024-01-01", [0]),
        ("t<2024-01-01T02:00:00", [0]),
        ("t<=2024-01-01 02:00", [0, 1]),
        ("t>2023-12-31", [0, 1, 2]),
        ("t>2024-01-01T02:00:00.000000001", [2]),
        ("z=2024-01-01T02:00:00Z", [1]),
        ("z=2024-01-01T02:00", [1]),
        ("z=2024-01-01T04:00+02:00", [1]),
        ("m>1.1", [1]),
        ("m<=1.1", [0, 3]),
        ("c=a", [0, 3]),
        ("u>-1", [0, 1, 3]),
        ("u=5", [3]),
        (f"u={2**64 - 1}", [1]),
        (f"u={2**64 - 2}", []),
        ("m=2.2", [1]),
        ("m=0.3", [3]),
        ("f32=0.1", [0]),
        ("f32<=0.2", [0, 1]),
        ("f32>0.3", []),
        ("f32<1e39", [0, 1, 3]),
        ("t32>=08:00", [1, 3]),
        ("t32<08:00:00.001", [0, 1]),
        ("t64=08:00:00.5", [1]),
        ("t64>08:00", [1, 3]),
        ("span>=0", [0, 1]),
        ("i<1e30", [0, 1, 3]),
        ("i<100000000000000000000", [0, 1, 3]),
    ],
)
def test_mask_by_type_and_missing_never_meets_it(text: str, rows: list[int]) -> None:
    assert Where.parse([text]).mask(TABLE).nonzero()[0].tolist() == rows


def test_several_clauses_must_all_hold() -> None:
    assert Where.parse(["i>0", "b=true"]).mask(TABLE).tolist() == [True, False, False, True]
    assert Where().mask(TABLE).all()
    assert str(Where.parse(["i>0", "b = true"])) == "i>0 and b=true"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agee=3", "no column named 'agee'; did you mean 'age'?"),
        ("plan=gold", "plan=gold: no generated row has that value of 'plan'; there is: basic, pro, team"),
        ("plan!=bassic", "did you mean 'basic'?"),
        ("plan<pro", "plan<pro: 'plan' contains text, which has no order; use = or !="),
        ("age=old", "age=old: 'old' is no number, which 'age' contains"),
        ("age=nan", "'nan' is no number"),
        ("age>200", "age>200: generated values of 'age' lie between 2"),
        ("age<0", "generated values of 'age' lie between"),
        ("member=maybe", "'maybe' is no true or false"),
        ("joined=yesterday", "'yesterday' is no date or time"),
        ("customer=C-00001", "'customer' is an identifier, new for each row; use another column"),
        ("member>false", "'member' contains true or false, which has no order; use = or !="),
        ("country=BE", "no generated row has that value of 'country'; there is: NL"),
    ],
)
def test_what_a_codec_can_never_make_is_refused(codec: MixedCodec, text: str, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        Where.parse([text]).check(codec)
    assert str(caught.value).startswith("--where: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "age>=30",
        "plan!=pro",
        "spend>1e2",
        "joined>=2020-06-01",
        "member=true",
        "visits=0",
        "last_seen<2030-01-01",
    ],
)
def test_what_it_can_make_passes(codec: MixedCodec, text: str) -> None:
    where = Where.parse([text])
    where.check(codec)
    rows = codec.decode(codec.encode(customers(1000)), first_row=0)
    assert 0 < where.mask(rows).sum() <= 1000


def test_a_rare_category_is_not_a_level(codec: MixedCodec) -> None:
    table = customers(1000)
    rare = table.set_column(2, "plan", pa.array(["gold"] * 3 + table["plan"].to_pylist()[3:]))
    fitted = MixedCodec.fit(rare, DataConfig(source="x"))
    with pytest.raises(ConditionError, match="no generated row has that value of 'plan'"):
        Where.parse(["plan=gold"]).check(fitted)
    assert native(Where.parse(["plan=gold"]), fitted) is None


def takes(conditions: str) -> GenerativeModel:
    """Stands for a model that can be told so much."""
    known = {"takes": frozenset, "takes_ranges": False}
    return SimpleNamespace(conditions=conditions, **known)  # type: ignore[return-value]


def native(where: Where, codec: MixedCodec) -> Condition | None:
    return where.split(codec, takes("columns"))[0]


def test_native_is_the_first_equality_with_one_code(codec: MixedCodec) -> None:
    spans = [span.column for span in codec.layout.discrete]
    plan, member = spans.index("plan"), spans.index("member")
    level = codec.profile.column("plan").levels.index("pro")
    assert native(Where.parse(["plan=pro"]), codec) == Condition(codes={plan: level})
    told, rest = Where.parse(["age>=30", "member=true", "plan=pro"]).split(codec, takes("columns"))
    assert (told, str(rest)) == (Condition(codes={member: 1}), "age>=30 and plan=pro")
    told, rest = Where.parse(["age>=30", "member=true", "plan=pro"]).split(codec, takes("any"))
    assert (told, str(rest)) == (Condition(codes={member: 1, plan: level}), "age>=30")
    told, rest = Where.parse(["plan=pro", "plan=basic"]).split(codec, takes("any"))
    assert (told, str(rest)) == (Condition(codes={plan: level}), "plan=basic")
    assert Where.parse(["plan=pro"]).split(codec, takes("none")) == (None, Where.parse(["plan=pro"]))
    for text in ("plan!=pro", "age=30", "spend=3", "joined=2020-06-01", "country=NL"):
        assert native(Where.parse([text]), codec) is None
    for text in ("plan=pro", "member=false"):
        where = Where.parse([text])
        found = native(where, codec)
        assert found is not None
        assert found.codes is not None
        [(span, code)] = found.codes.items()
        table = customers(1000)
        assert (codec.encode(table)["codes"][:, span].numpy() == code).tolist() == where.mask(table).tolist()


def test_levels_of_every_type_are_checked() -> None:
    table = pa.table(
        {
            "grade": [1, 2, 3, 4] * 25,
            "one": [7] * 100,
            "empty": pa.nulls(100, pa.float64()),
            "price": pa.array([Decimal("1.10"), Decimal("2.20")] * 50, pa.decimal128(9, 2)),
            "ratio": [0.5, 1.5] * 50,
            "day": pa.array([1, 2] * 50, pa.int32()).cast(pa.date32()),
        }
    )
    codec = MixedCodec.fit(table, DataConfig(source="x"))
    for text in ("grade>3", "one=7", "price=1.1", "price<2", "ratio=0.50", "day>=1970-01-02"):
        where = Where.parse([text])
        where.check(codec)
        assert where.mask(table).any(), text
    for text in ("grade>4", "grade=5", "one!=7", "empty=1", "price=1.15", "ratio=1"):
        with pytest.raises(ConditionError, match=r"no value of '\w+' satisfies it; there is: "):
            Where.parse([text]).check(codec)
    assert native(Where.parse(["price=1.1"]), codec) is not None
    assert native(Where.parse(["ratio=0.50"]), codec) is not None


def test_every_value_that_a_message_lists_can_be_asked_for() -> None:
    table = pa.table(
        {
            "narrow": pa.array([0.1, 0.2] * 50, pa.float32()),
            "one": pa.array([0.1] * 100, pa.float32()),
            "huge": [2**53 + 1, 2**53 + 3] * 50,
            "price": pa.array([Decimal("0.07"), Decimal("1.15")] * 50, pa.decimal128(9, 2)),
            "curve": pa.array([i / 7 for i in range(99)] + [0.1], pa.float32()),
            "keys": [2**53 + 1 + 2 * (i * i % 101) for i in range(100)],
        }
    )
    codec = MixedCodec.fit(table, DataConfig(source="x"), {"keys": ColumnRule(kind="integer")})
    for text, there in (
        ("narrow=3", "0.1, 0.2"),
        ("one=3", "0.1"),
        ("huge=3", f"{2**53 + 1}, {2**53 + 3}"),
        ("price=3", "0.07, 1.15"),
    ):
        with pytest.raises(ConditionError) as caught:
            Where.parse([text]).check(codec)
        assert str(caught.value).endswith(f"there is: {there}")
        for value in there.split(", "):
            where = Where.parse([text.replace("3", value)])
            where.check(codec)
            assert where.mask(table).any()
            assert text == "one=3" or native(where, codec) is not None
    low, high = codec.profile.column("keys").minimum, codec.profile.column("keys").maximum
    with pytest.raises(ConditionError, match=f"lie between {low} and {high}$"):
        Where.parse(["keys=3"]).check(codec)
    for bound in (low, high):
        Where.parse([f"keys={bound}"]).check(codec)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t32>8", "'8' is no time of day (write 08:30 or 08:30:15.5), which 't32' contains"),
        (
            "t64=2024-01-01",
            "'2024-01-01' is no time of day (write 08:30 or 08:30:15.5), which 't64' contains",
        ),
        ("span>1.5", "'1.5' is no whole number of s, which 'span' contains"),
    ],
)
def test_what_is_no_time_of_day_or_duration(text: str, message: str) -> None:
    with pytest.raises(ConditionError) as caught:
        Where.parse([text]).mask(TABLE)
    assert str(caught.value) == f"--where: {text}: {message}"


@pytest.mark.parametrize("column", ["t32", "t64", "span"])
def test_times_of_day_and_durations_can_be_categories(column: str) -> None:
    table = pa.concat_tables([TABLE.select([column])] * 10)
    codec = MixedCodec.fit(table, DataConfig(source="x"), {column: ColumnRule(kind="categorical")})
    assert codec.decode(codec.encode(table), first_row=0).equals(table)
    for level in codec.levels(column) or []:
        where = Where.parse([f"{column}={level}"])
        where.check(codec)
        assert where.mask(table).sum() == 10
        assert native(where, codec) is not None
    same = pa.concat_tables([TABLE.select([column, "i"]).slice(1, 1)] * 10).append_column(
        "x", pa.array([1.0, 2.0] * 5)
    )
    constant = MixedCodec.fit(same, DataConfig(source="x"), {column: ColumnRule(kind="categorical")})
    assert constant.decode(constant.encode(same), first_row=0).equals(same)


def test_columns_whose_names_hold_operators() -> None:
    names = ["BMI >= 30", "=formula", "a`b", " lead"]
    table = pa.table({name: ["yes", "no"] * 50 for name in names} | {"x": list(range(100))})
    codec = MixedCodec.fit(table, DataConfig(source="x"))
    for name in names:
        for given in (f"{quoted(name)} != no", {"column": name, "op": "!=", "value": "no"}, {name: "yes"}):
            where = Where.parse([given])
            where.check(codec)
            assert where.mask(table).tolist() == [True, False] * 50
            assert Where.parse([str(where)]) == where
    with pytest.raises(ConditionError, match=r"no column named 'BMI'; put .* in backticks: `BMI >= 30`"):
        Where.parse(["BMI >= 30=yes"]).check(codec)
