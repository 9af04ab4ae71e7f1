from evidence import computed, look, people
from synthmill.metrics.table.requested_share import RequestedShare


def test_share_of_the_rows_asked_for():
    assert RequestedShare().compute(look(people(150, 5), requested_rows=200)).value == 0.75


def test_without_a_request_there_is_nothing_to_judge():
    assert computed(look(people(150, 5)), RequestedShare)["size.requested_share"].status == "not_applicable"
