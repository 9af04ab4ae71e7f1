import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from evidence import computed, look, people, replaced
from synthmill.metrics.lib.forms import text_patterns
from synthmill.metrics.table.form_kept import FormKept

NAME = FormKept.name


def one(real: pa.Table, synthetic: pa.Table, kinds: dict[str, str]):
    half = real.num_rows // 2
    evidence = look(synthetic, train=real.slice(0, half), holdout=real.slice(half), target=None, kinds=kinds)
    return computed(evidence, FormKept)[NAME]


def test_real_rows_keep_their_form():
    result = computed(look(people(800, 5), holdout=people(800, 6)), FormKept)[NAME]
    assert result.value == 1.0
    assert result.aspects["beyond_chance"].value == 1.0
    assert not result.per_column


def test_patterns_keep_kinds_of_characters_and_drop_lengths_of_words():
    words = ["Ann-Lee", "Bo-Mi", "DE12 3456", "\u00c4rger", "a.b@c.de", "00042"]
    assert text_patterns(words, exact=True) == ["Aa-Aa", "Aa-Aa", "A99 9999", "Aa", "a.a@a.a", "99999"]
    assert text_patterns(["007", "7"], exact=False) == ["9", "9"]


@pytest.mark.parametrize(
    ("real", "fake", "kind"),
    [
        ([f"{n:05d}" for n in range(400)], ["123"] * 100, "categorical"),
        ([f"P-{n:04d}" for n in range(400)], [f"P-{n}" for n in range(100)], "identifier"),
        ([f"u{n}@x.org" for n in range(400)], ["<other>"] * 100, "identifier"),
        ([n / 4 for n in range(400)], [n / 7 for n in range(100)], "numeric"),
        (
            [dt.datetime(2020, 1, 1) + dt.timedelta(days=n) for n in range(400)],
            [dt.datetime(2020, 1, 1, 3, 7, n % 60) for n in range(100)],
            "datetime",
        ),
    ],
)
def test_another_form_is_seen_and_its_column_named(real, fake, kind):
    real_table, fake_table = pa.table({"x": real}), pa.table({"x": fake})
    result = one(real_table, fake_table, {"x": kind})
    assert result.aspects["beyond_chance"].value < 0.9
    assert list(result.per_column) == ["x"]


def test_identifiers_that_count_up_may_grow_a_digit():
    real = pa.table({"x": [f"u{n}" for n in range(1, 900)]})
    fresh = pa.table({"x": [f"u{n}" for n in range(1000, 1200)]})
    assert one(real, fresh, {"x": "identifier"}).value == 1.0


def test_rare_forms_of_free_text_are_chance():
    rng = np.random.default_rng(0)
    marks = np.array(list("abcdefgh.-,;:!? "))
    words = ["".join(rng.choice(marks, rng.integers(5, 15))) for _ in range(900)]
    result = one(pa.table({"x": words[:600]}), pa.table({"x": words[600:]}), {"x": "text"})
    assert result.value < 0.9
    assert result.aspects["beyond_chance"].value == 1.0


def test_cells_that_do_not_read_as_the_type_count():
    evidence = look(people(400, 5))
    evidence.unreadable = {"age": 40}
    result = computed(evidence, FormKept)[NAME]
    assert result.aspects["beyond_chance"].value < 1.0
    assert list(result.per_column) == ["age"]


def test_measured_numbers_have_no_written_form():
    rng = np.random.default_rng(1)
    real, fake = (pa.table({"x": rng.normal(size=500)}) for _ in range(2))
    assert one(real, fake, {"x": "numeric"}).status == "not_applicable"


def test_missing_values_have_no_form():
    fresh = people(300, 5)
    assert computed(look(replaced(fresh, "pay", [None] * 300)), FormKept)[NAME].value == 1.0
