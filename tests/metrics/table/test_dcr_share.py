from evidence import look, people, replaced, with_copies
from synthmill.metrics.table.dcr_share import DcrShare, column_groups


def test_copies_move_it_little_and_overfitting_much():
    train, holdout = people(1500, 1), people(1500, 6)
    few = DcrShare().compute(look(with_copies(people(1500, 5), train, 0.02), train=train, holdout=holdout))
    assert few.aspects["all_columns"].value < 0.55
    ages = train["age"].to_pylist()
    wobbly = replaced(train, "age", [a + (i % 3) - 1 for i, a in enumerate(ages)])
    assert DcrShare().compute(look(wobbly, train=train, holdout=holdout)).value > 0.8


def test_fresh_rows_are_in_the_middle_and_validation_is_the_reference():
    result = DcrShare().compute(look(people(1500, 5), holdout=people(1500, 6), validation=people(500, 7)))
    assert abs(result.aspects["all_columns"].value - 0.5) < 0.05
    assert abs(result.reference - 0.5) < 0.08
    assert result.axis == "overfit"


def test_groups_are_clusters_of_columns_and_all_of_them():
    groups = column_groups(look(people(500, 5), holdout=people(500, 6)))
    assert "all columns" in groups
    assert 1 <= len(groups) <= 4
    for name, coordinates in groups.items():
        assert len(set(coordinates.tolist())) == len(coordinates), name


def test_too_few_rows():
    assert DcrShare().compute(look(people(10, 5), holdout=people(100, 6))).status == "unavailable"
