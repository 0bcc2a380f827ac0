"""Which requests a fault rule strikes, and when a throttled client may come again."""

import pytest
from pydantic import ValidationError
from soda_faults import Faults, Limit, Rule, Throttle


def struck(faults: Faults, requests: int, query: str = "") -> list[int | None]:
    """For each of several requests the rule that strikes it."""
    return [faults.strike("a", query, None)[0] for _ in range(requests)]


def test_skip_every_and_times() -> None:
    """Not the first ones, then each n-th, and no more than so many."""
    faults = Faults()
    faults.rules = [Rule(status=500, skip=1, every=3, times=2)]
    assert struck(faults, 10) == [None, 0, None, None, 0, None, None, None, None, None]
    assert faults.rules[0].fired == 2


def test_the_first_rule_that_strikes_decides() -> None:
    """A request that one rule has struck is not counted by those after it: failures come one after the other."""
    faults = Faults()
    faults.rules = [Rule(status=429, times=2), Rule(status=500, times=1), Rule(status=503, skip=1, times=1)]
    assert struck(faults, 6) == [0, 0, 1, None, 2, None]


def test_rules_match_query_dataset_and_token() -> None:
    """Requests that do not match are not counted either."""
    faults = Faults()
    faults.rules = [Rule(status=500, contains="offset=2", dataset="a", token="t", skip=1)]  # noqa: S106 - no secret
    asked = [
        ("a", "$offset=2", "t"),
        ("b", "$offset=2", "t"),
        ("a", "$offset=3", "t"),
        ("a", "$offset=2", None),
        ("a", "$offset=2", "t"),
    ]
    assert [faults.strike(*request)[0] for request in asked] == [None, None, None, None, 0]


def test_errors_of_rules() -> None:
    """A rule with a status is an error as asked; one without is none."""
    error = Rule(status=429, retry_after="0", message="slow down", body="<html>").error()
    assert error is not None
    assert (error.status, error.code, str(error)) == (429, "too_many_requests", "slow down")
    assert (error.retry_after, error.page) == ("0", "<html>")
    assert Rule(delay_ms=5).error() is None
    with pytest.raises(ValidationError, match="greater than or equal to 400"):
        Rule(status=200)


def test_a_token_bucket_per_token() -> None:
    """A burst passes, then as many as the rate allows; the wait is in whole seconds and honest; others are not held."""
    throttle = Throttle(Limit(requests_per_second=0.5, burst=2))
    assert [throttle.wait_s("t", 0.0) for _ in range(4)] == [0, 0, 2, 2]
    assert throttle.wait_s(None, 0.0) == 0
    assert throttle.wait_s("t", 1.5) == 1
    assert throttle.wait_s("t", 2.0) == 0
    assert [throttle.wait_s("t", 100.0) for _ in range(3)] == [0, 0, 2]
    assert [Throttle(Limit()).wait_s("t", 0.0) for _ in range(100)] == [0] * 100
