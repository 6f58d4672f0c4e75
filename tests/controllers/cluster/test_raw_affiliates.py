"""The latest word of several services."""

from nodespan.controllers.cluster.raw_affiliates import RawAffiliates
from tests.controllers.cluster.samples import affiliate


def test_the_latest_change_wins_regardless_of_the_service() -> None:
    records: RawAffiliates[str] = RawAffiliates()
    assert records.take("one", {"a": affiliate("a", "10.0.0.1")}) == {"a"}
    assert records.take("two", {"a": affiliate("a", "10.0.0.2")}) == {"a"}
    assert records.latest("a") == affiliate("a", "10.0.0.2")
    records.take("one", {"a": affiliate("a", "10.0.0.3")})
    assert records.latest("a") == affiliate("a", "10.0.0.3")
    assert records.take("one", {"a": None}) == {"a"}
    assert records.latest("a") == affiliate("a", "10.0.0.2")
    assert records.take("two", {"a": None}) == {"a"}
    assert records.latest("a") is None


def test_two_records_of_a_service_may_describe_the_same_node() -> None:
    records: RawAffiliates[str] = RawAffiliates()
    records.take("one", {"x": affiliate("a"), "y": affiliate("a", "10.0.0.1")})
    assert records.latest("a") == affiliate("a", "10.0.0.1")
    assert records.take("one", {"y": affiliate("b")}) == {"a", "b"}
    assert records.latest("a") == affiliate("a")
    assert records.unknown(["a", "b", "c"]) == {"c"}


def test_dropping_a_service_keeps_what_others_report() -> None:
    records: RawAffiliates[str] = RawAffiliates()
    records.take("one", {"a": affiliate("a"), "b": affiliate("b")})
    records.take("two", {"b": affiliate("b", "10.0.0.1")})
    assert records.forget("one") == {"a", "b"}
    assert records.latest("a") is None
    assert records.latest("b") == affiliate("b", "10.0.0.1")
    assert records.forget("one") == set()


def test_forgetting_an_unknown_service_is_a_no_op() -> None:
    records: RawAffiliates[str] = RawAffiliates()
    assert records.take("one", {"a": None}) == set()
