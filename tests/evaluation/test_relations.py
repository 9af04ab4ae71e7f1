"""Figures of relations: real tables against themselves are fine, planted faults are seen."""

import numpy as np
import pyarrow as pa
import pytest

from families import assembled
from retail import FIVE, Tables, five_tables
from synthmill.evaluation.relations import RelationsReport, relations_report
from synthmill.evaluation.tables_report import TablesReport
from synthmill.training.tables import families_of, plan_tables

BASE = assembled(five_tables(200), FIVE)
SPEC = families_of(plan_tables(BASE))


def report(synthetic: Tables) -> RelationsReport:
    real = {name: BASE.table(name) for name in BASE.order}
    learnt = {table.name: table.own for table in SPEC.tables}
    return relations_report(SPEC, real, synthetic, BASE.sides, learnt)


def figures(found: RelationsReport, relation: str):
    return next(one for one in found.relations if one.relation.startswith(relation))


def test_real_tables_of_another_draw_are_intact_and_near() -> None:
    found = report(five_tables(200, seed=1))
    assert found.intact
    assert all(one.cardinality_reference is not None for one in found.relations)
    lines = figures(found, "lines.sku")
    assert lines.pairs >= 4
    assert lines.dependence is not None
    assert lines.dependence_control is not None
    assert lines.dependence < 0.1 < 0.3 < lines.dependence_control
    assert {one.verdict for one in found.relations} == {"pass"}


def test_orphans_and_doubled_keys_are_no_longer_intact() -> None:
    made = five_tables(200, seed=1)
    found = report({**made, "customers": made["customers"].slice(10)})
    assert not found.intact
    assert figures(found, "orders.customer").integrity < 1
    assert figures(found, "orders.customer").verdict == "fail"
    assert TablesReport(relations=found, tables={}).verdict == "fail"
    doubled = pa.concat_tables([made["regions"], made["regions"].slice(0, 1)])
    (broken,) = [one for one in report({**made, "regions": doubled}).keys if one.unique < 1]
    assert (broken.table, broken.unique) == ("regions", pytest.approx(1 - 1 / 25))


def test_children_dealt_out_anew_lose_dependence() -> None:
    made = five_tables(200, seed=1)
    rng = np.random.default_rng(0)
    skus = made["products"]["sku"].to_numpy()
    at = made["lines"].column_names.index("sku")
    lines = made["lines"].set_column(at, "sku", pa.array(rng.choice(skus, made["lines"].num_rows)))
    found = figures(report({**made, "lines": lines}), "lines.sku")
    assert found.integrity == 1
    assert found.dependence == pytest.approx(found.dependence_control, abs=0.05)
    assert found.lost == pytest.approx(1, abs=0.1)
    assert found.verdict == "fail"
    one = made["lines"].set_column(at, "sku", pa.array([int(skus[0])] * made["lines"].num_rows))
    alone = figures(report({**made, "lines": one}), "lines.sku")
    assert (alone.cardinality > 0.9, alone.verdict) == (True, "fail")


def test_half_of_the_dependence_is_a_warning_and_a_broken_constraint_fails() -> None:
    made, rng = five_tables(200, seed=1), np.random.default_rng(0)
    skus = made["lines"]["sku"].to_numpy().copy()
    # A set of rows whose products are dealt out among one another: numbers of children stay.
    some = np.flatnonzero(rng.random(len(skus)) < 0.75)
    skus[some] = rng.permutation(skus[some])
    at = made["lines"].column_names.index("sku")
    found = report({**made, "lines": made["lines"].set_column(at, "sku", pa.array(skus))})
    lines = figures(found, "lines.sku")
    assert lines.lost is not None
    assert (0.5 < lines.lost < 0.9, lines.verdict) == (True, "warn")
    # Without a table that was judged nothing is decided, whatever relations say.
    assert TablesReport(relations=found, tables={}).verdict == "inconclusive"
    broken = TablesReport(relations=found, tables={}, constraints={"lines": 0.99})
    assert broken.verdict == "fail"
    assert broken.summary == "constraints are broken: lines"
    assert not broken.passed(allow_inconclusive=True)


def test_only_keys_of_rows_beyond_the_first_are_compared() -> None:
    made = five_tables(200, seed=1)
    learnt = {table.name: table.own for table in SPEC.tables}
    real = {name: BASE.table(name) for name in BASE.order}
    first = {**made, "lines": made["lines"].slice(0, 400), "products": made["products"].slice(0, 40)}
    some = relations_report(SPEC, real, first, BASE.sides, learnt, made)
    whole = relations_report(SPEC, real, made, BASE.sides, learnt)
    assert some.keys == whole.keys
    one, other = figures(some, "lines.sku"), figures(whole, "lines.sku")
    assert (one.integrity, one.cardinality, one.children) == (1, other.cardinality, other.children)
    assert one.dependence != other.dependence
    assert one.verdict == "pass"
