"""Circuit breakers by ratio, and their rules and state in the admin."""

import threading

import pytest
from django.urls import reverse

from flashsale.core.breaker import BreakerLimits, CircuitBreaker
from flashsale.ratelimit import breakers
from flashsale.ratelimit.rules.models import BreakerRule, RuleChange
from tests.conftest import eventually
from tests.integration.test_staff_guards import form_of

BY_ERRORS = BreakerLimits(failures=0, error_ratio=0.5, min_calls=10, window_s=10, open_s=5, probes=3)
BY_SLOWNESS = BreakerLimits(failures=0, slow_ratio=0.5, slow_s=1.0, min_calls=10, window_s=10, open_s=5, probes=3)


@pytest.fixture
def clock():
    return [100.0]


@pytest.fixture
def make(clock):
    changes = []

    def made(limits):
        breaker = CircuitBreaker(limits=limits, clock=lambda: clock[0], on_change=changes.append)
        breaker.changes = changes
        return breaker

    return made


def test_half_of_the_calls_of_a_window_that_fail_open_it(make):
    breaker = make(BY_ERRORS)
    for _ in range(5):
        breaker.succeeded()
    for _ in range(4):
        breaker.failed()
    assert breaker.state == "closed"

    breaker.failed()

    assert (breaker.state, breaker.may_ask(), breaker.retry_after_s()) == ("open", False, 5)


def test_fewer_calls_than_the_minimum_say_nothing(make):
    breaker = make(BY_ERRORS)
    for _ in range(9):
        breaker.failed()

    assert breaker.state == "closed"


def test_calls_before_the_window_are_forgotten(make, clock):
    breaker = make(BY_ERRORS)
    for _ in range(9):
        breaker.failed()
    clock[0] += 10.1

    breaker.failed()

    assert breaker.state == "closed"


def test_half_of_the_calls_that_are_slow_open_it(make):
    breaker = make(BY_SLOWNESS)
    for took_s in [0.99] * 5 + [1.0] * 4:
        breaker.succeeded(took_s)
    assert breaker.state == "closed"

    breaker.succeeded(1.0)

    assert breaker.state == "open"


def test_half_open_lets_a_bounded_number_of_probes_through_and_closes_when_all_are_good(make, clock):
    breaker = make(BY_ERRORS)
    for _ in range(10):
        breaker.failed()
    clock[0] += 5

    assert [breaker.may_ask() for _ in range(5)] == [True, True, True, False, False]
    breaker.succeeded()
    breaker.succeeded()
    assert not breaker.may_ask()
    breaker.succeeded()

    assert (breaker.state, breaker.may_ask()) == ("closed", True)
    assert breaker.changes == ["open", "half-open", "closed"]


@pytest.mark.parametrize("bad", ["failed", "slow"])
def test_one_bad_probe_opens_it_again(make, clock, bad):
    breaker = make(BY_SLOWNESS if bad == "slow" else BY_ERRORS)
    for _ in range(10):
        breaker.succeeded(2.0) if bad == "slow" else breaker.failed()
    clock[0] += 5
    assert breaker.may_ask()

    breaker.succeeded(2.0) if bad == "slow" else breaker.failed()

    assert (breaker.state, breaker.may_ask()) == ("open", False)


def test_probes_that_never_report_back_are_followed_by_others(make, clock):
    breaker = make(BY_ERRORS)
    for _ in range(10):
        breaker.failed()
    clock[0] += 5
    assert [breaker.may_ask() for _ in range(4)] == [True, True, True, False]

    clock[0] += 5

    assert breaker.may_ask()


def test_an_answer_to_a_call_from_before_the_opening_does_not_close_it(make):
    breaker = make(BY_ERRORS)
    for _ in range(10):
        breaker.failed()

    for _ in range(5):
        breaker.succeeded()

    assert breaker.state == "open"


def test_of_many_threads_three_probe(make, clock):
    breaker = make(BY_ERRORS)
    for _ in range(10):
        breaker.failed()
    clock[0] += 5
    start, let_through = threading.Barrier(16), []

    def ask():
        start.wait()
        if breaker.may_ask():
            let_through.append(1)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(let_through) == 3


@pytest.mark.django_db(transaction=True)
def test_a_rule_of_the_admin_is_in_force_within_a_second_and_the_state_is_shown(admin_client):
    url = reverse("admin:limits_breakerrule_add")
    page = admin_client.get(url)
    values = form_of(page) | {"name": "a-call", "error_percent": 10, "min_calls": 2, "open_ms": 60_000}

    assert admin_client.post(url, values).status_code == 302

    found = eventually(lambda: (b := breakers.breaker("a-call")).limits.min_calls == 2 and b, within=2)
    assert (found.limits.error_ratio, found.limits.open_s) == (0.1, 60.0)
    assert RuleChange.objects.get().rule == "a-call"
    for _ in range(2):
        found.failed()
    eventually(lambda: breakers.shown_state("a-call") == "open in 1")
    assert "open in 1" in admin_client.get(reverse("admin:limits_breakerrule_changelist")).text

    BreakerRule.objects.all().delete()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("name", "value"), [("error_percent", 101), ("min_calls", 0), ("open_ms", 0), ("window_ms", 10**9)])
def test_a_breaker_that_could_not_work_is_refused(admin_client, name, value):
    url = reverse("admin:limits_breakerrule_add")
    values = form_of(admin_client.get(url)) | {"name": "a-call", name: value}

    assert admin_client.post(url, values).status_code == 200
    assert not BreakerRule.objects.exists()


def test_a_rule_of_a_newer_release_is_read_without_what_is_new():
    assert breakers.parse('{"x": {"probes": 2, "novelty": 1}}') == {"x": BreakerLimits(probes=2)}
