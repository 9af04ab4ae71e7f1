from synthmill.errors import MOST_COMPARED, did_you_mean


def test_the_closest_name_is_offered_or_what_there_is():
    assert did_you_mean("incom", ["age", "income"]) == "; did you mean 'income'?"
    assert did_you_mean("zzz", ["b", "a"]) == "; there is: a, b"
    assert did_you_mean("zzz", []) == ""
    assert did_you_mean("?", map(str, range(30))).endswith(", ...")


def test_of_very_many_names_those_that_begin_alike_are_compared():
    known = [f"{letter}{number:06d}" for letter in "abc" for number in range(MOST_COMPARED)]
    assert did_you_mean("b0000017", known) == "; did you mean 'b000017'?"
