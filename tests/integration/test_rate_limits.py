"""Rules, from the admin to the answer: what a limit does, when Redis is gone too."""

import threading
import time

import pytest
import redis
from django.core.exceptions import ValidationError

from flashsale.core.breaker import CircuitBreaker
from flashsale.limits import publish, services
from flashsale.limits.defaults import default_rules
from flashsale.limits.models import LimitRule, RuleChange
from flashsale.ratelimit.client_address import client_address
from flashsale.ratelimit.in_process import limiter, limits_client, ruleset
from flashsale.ratelimit.limiter import Limiter
from flashsale.ratelimit.memory_store import MemoryStore
from flashsale.ratelimit.redis_store import RedisStore
from flashsale.ratelimit.rules import Rule
from flashsale.ratelimit.ruleset import RULES_KEY, RuleSet
from flashsale.stack.servers import Valkey
from inventory.admission import gate
from tests.conftest import client_of, eventually

pytestmark = pytest.mark.django_db(transaction=True)


def rule(**changes):
    fields = {"name": "r", "applies_to": "api", "key": "customer", "algorithm": "token_bucket", "rate": 1, "burst": 2}
    return LimitRule(**{**fields, **changes})


@pytest.fixture
def make_rule():
    def make(**changes):
        one = rule(**changes)
        services.save_rule(one, actor="test")
        ruleset().forget()
        return one

    return make


class Away:
    """A store that does not answer, and counts who asks."""

    asked = 0

    def decide(self, checks, cost=1, *, mode="take"):
        self.asked += 1
        raise redis.ConnectionError("away")

    give_back = reset = decide


def plain(**changes):
    return rule(**changes).as_rule()


# --- rules ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"burst": 0}, "burst is at least one"),
        ({"rate": 0}, "at least one unit"),
        ({"rate": 60_000, "burst": 1}, "within 1 %"),
        ({"algorithm": "leaky_bucket"}, "let it queue"),
        ({"on_limit": "queue"}, "only a leaky bucket"),
        ({"algorithm": "leaky_bucket", "on_limit": "queue", "max_wait_ms": 60_000}, "at most 2000 ms"),
        ({"algorithm": "sliding_log", "sub_rate": 5}, "a limit and a length"),
        ({"applies_to": "consume:orders", "key": "all"}, "pace of a leaky bucket"),
        ({"applies_to": "admission"}, "per item"),
        ({"applies_to": "gateway"}, "gateway knows the address"),
        ({"applies_to": "nowhere"}, "not a valid choice"),
    ],
)
def test_a_broken_rule_is_refused_with_the_reason_and_nothing_is_saved(changes, why):
    with pytest.raises(ValidationError, match=why):
        services.save_rule(rule(**changes), actor="test")

    assert not LimitRule.objects.filter(name="r").exists()
    assert not RuleChange.objects.exists()


def test_the_default_rules_are_all_sound():
    for fields in default_rules():
        LimitRule(**fields).full_clean(validate_unique=False)


def test_every_change_is_written_down_with_old_and_new_values(make_rule):
    one = make_rule()
    one.rate = 7
    services.save_rule(one, actor="anna")
    services.save_rule(one, actor="anna")
    services.delete_rule(one, actor="bert")

    made, changed, deleted = RuleChange.objects.order_by("pk")
    assert (made.before, made.after["rate"]) == (None, 1)
    assert (changed.actor, changed.before["rate"], changed.after["rate"]) == ("anna", 1, 7)
    assert (deleted.actor, deleted.before["rate"], deleted.after) == ("bert", 7, None)


def test_a_change_is_in_force_in_another_process_within_a_second(live_url, customer, make_rule):
    import json
    import urllib.request

    from rest_framework_simplejwt.tokens import AccessToken

    token = AccessToken.for_user(customer)

    def policy():
        request = urllib.request.Request(f"{live_url}/api/v1/orders/", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            json.load(answer)
            return answer.headers.get("RateLimit-Policy")

    one = make_rule(rate=100, burst=1000)
    eventually(lambda: policy() == '"r";q=1000;w=10')

    one.burst = 500
    services.save_rule(one, actor="test")

    eventually(lambda: policy() == '"r";q=500;w=5', within=1.0)


def test_rules_that_redis_has_lost_are_published_again(make_rule):
    make_rule()
    limits_client().flushall()
    ruleset().forget()

    assert [one.name for one in ruleset().at("api")] == ["r"]
    assert limits_client().get(RULES_KEY)


def test_a_rule_that_nobody_can_read_is_left_out_and_the_others_stay():
    good = plain(name="good").as_values()
    rules = RuleSet(
        lambda: redis.Redis(port=1),
        fleet="main",
        node="n",
        load=lambda: f'[{{"name": "bad"}}, {__import__("json").dumps(good)}]',
    )

    assert [one.name for one in rules.at("api")] == ["good"]


def test_a_fleet_gets_its_own_rules_and_those_for_all(make_rule):
    make_rule(name="everybody")
    make_rule(name="tried-out", fleet="canary")
    make_rule(name="off", enabled=False)

    def names(fleet):
        found = RuleSet(limits_client, fleet=fleet, node="n", load=publish.publish)
        return [one.name for one in found.at("api")]

    assert names("main") == ["everybody"]
    assert names("canary") == ["everybody", "tried-out"]


# --- decisions -----------------------------------------------------------------------------------------------------------


def test_a_known_refusal_costs_no_round_trip():
    asked = []

    class Counting(MemoryStore):
        def decide(self, *args, **kwargs):
            asked.append(1)
            return super().decide(*args, **kwargs)

    one = Limiter(Counting())
    hammered = [(plain(rate=1, window_ms=60_000, burst=2), "7")]

    decisions = [one.check(hammered) for _ in range(50)]

    assert [decision.allowed for decision in decisions] == [True, True] + [False] * 48
    assert len(asked) == 3
    assert all(59 < decision.retry_after_s <= 60 for decision in decisions[2:])


def test_the_refusing_rule_is_named_and_charges_no_other():
    one = Limiter(RedisStore(limits_client))
    narrow, wide = plain(name="narrow", burst=1), plain(name="wide", burst=10)

    decisions = [one.check([(wide, "a"), (narrow, "b")]) for _ in range(4)]

    assert [decision.allowed for decision in decisions] == [True, False, False, False]
    assert {decision.binding.rule.name for decision in decisions} == {"narrow"}
    assert one.check([(wide, "a")], mode="peek").binding.reading.remaining == 8


def test_a_shadow_rule_passes_warns_and_counts(caplog):
    from flashsale.core.metrics import LIMIT_DECISIONS

    counter = LIMIT_DECISIONS.labels("shady", "shadowed")._value
    before = counter.get()
    one = Limiter(RedisStore(limits_client))
    shadow = plain(name="shady", on_limit="log")

    with caplog.at_level("WARNING"):
        assert all(one.check([(shadow, "a")]).allowed for _ in range(5))

    assert counter.get() - before == 3
    assert len([record for record in caplog.records if getattr(record, "event", "") == "shadow_limit"]) == 1


def test_near_the_limit_is_counted_from_four_fifths_on():
    from flashsale.core.metrics import LIMIT_NEAR

    counter = LIMIT_NEAR.labels("nearly")._value
    before = counter.get()
    one = Limiter(RedisStore(limits_client))

    for _ in range(10):
        one.check([(plain(name="nearly", burst=10), "a")])

    assert counter.get() - before == 3  # the 8th, 9th and 10th of ten


# --- Redis is gone --------------------------------------------------------------------------------------------------------


def test_the_breaker_opens_probes_once_and_closes():
    clock = [0.0]
    breaker = CircuitBreaker(failures=2, open_s=5, clock=lambda: clock[0])

    breaker.failed()
    assert breaker.may_ask()
    breaker.failed()
    assert not breaker.may_ask()
    assert breaker.retry_after_s() == 5

    clock[0] = 5
    assert [breaker.may_ask() for _ in range(3)] == [True, False, False]
    breaker.failed()
    assert not breaker.may_ask()

    clock[0] = 10
    assert breaker.may_ask()
    breaker.succeeded()
    assert [breaker.may_ask() for _ in range(3)] == [True, True, True]


def test_a_dead_store_is_asked_three_times_and_then_left_alone():
    store = Away()
    one = Limiter(store, breaker=CircuitBreaker(open_s=60))

    for _ in range(20):
        one.check([(plain(), "a")])

    assert store.asked == 3


@pytest.mark.parametrize(("on_failure", "passed"), [("open", 100), ("closed", 0)])
def test_without_redis_a_rule_lets_everything_or_nothing_pass(on_failure, passed):
    one = Limiter(Away(), breaker=CircuitBreaker(open_s=60))

    assert sum(one.check([(plain(on_failure=on_failure), "a")]).allowed for _ in range(100)) == passed


def test_without_redis_the_shares_of_all_nodes_together_stay_within_the_limit():
    nodes = [Limiter(Away(), breaker=CircuitBreaker(open_s=60), nodes=4) for _ in range(4)]
    shared = plain(on_failure="share", rate=1, window_ms=3600_000, burst=40)

    passed = [sum(node.check([(shared, "a")]).allowed for _ in range(100)) for node in nodes]

    assert passed == [10, 10, 10, 10]


def test_a_closed_rule_says_when_to_come_back():
    one = Limiter(Away(), breaker=CircuitBreaker(failures=1, open_s=60))

    refused = one.check([(plain(on_failure="closed"), "a")])

    assert 0 < refused.retry_after_s <= 60


def test_the_limiter_comes_back_with_redis(tmp_path):
    server = Valkey(tmp_path, name="limits", fsync="everysec")
    server.start()
    client = redis.Redis.from_url(server.url, decode_responses=True, socket_timeout=0.25)
    one = Limiter(RedisStore(lambda: client), breaker=CircuitBreaker(open_s=0.2))
    asked = [(plain(burst=3, rate=1, window_ms=60_000), "a")]
    try:
        assert one.check(asked).allowed
        server.kill()
        assert all(one.check(asked).allowed for _ in range(10))  # open, as the rule says
        server.start()
        eventually(lambda: not one.check(asked).allowed, within=10)
    finally:
        server.stop()


# --- the API -------------------------------------------------------------------------------------------------------------


def test_a_refusal_is_a_problem_with_headers(customer, customers, make_rule):
    make_rule(rate=1, window_ms=60_000, burst=2)
    api = client_of(customer)

    answers = [api.get("/api/v1/orders/") for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer["RateLimit"] for answer in answers[:2]] == ['"r";r=1;t=60', '"r";r=0;t=120']
    refused = answers[2]
    assert refused["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "rate_limited"
    assert 59 <= int(refused["Retry-After"]) <= 60
    assert refused["RateLimit-Policy"] == '"r";q=2;w=120'
    assert client_of(customers(1, "other")[0]).get("/api/v1/orders/").status_code == 200


def test_every_endpoint_passes_the_limiter(api, make_item, make_rule):
    make_item()
    make_rule(key="address", rate=1000, burst=1000)
    gone = "/api/v1/orders/01890000-0000-7000-8000-000000000000/"
    calls = [
        ("get", "/api/v1/sales/"),
        ("get", "/api/v1/sales/drop/"),
        ("post", "/api/v1/sales/drop/items/thing/purchase-tokens/"),
        ("post", "/api/v1/auth/token/"),
        ("get", "/api/v1/orders/"),
        ("post", "/api/v1/orders/"),
        ("get", gone),
        ("post", f"{gone}pay/"),
        ("post", f"{gone}cancel/"),
    ]

    for verb, url in calls:
        answer = getattr(api, verb)(url, {}, format="json") if verb == "post" else api.get(url)
        assert "RateLimit" in answer, url


def test_a_request_over_a_queue_rule_waits_for_its_turn(api, make_rule):
    make_rule(algorithm="leaky_bucket", rate=20, burst=0, max_wait_ms=200, on_limit="queue")
    api.get("/api/v1/orders/")

    began = time.monotonic()
    statuses = [api.get("/api/v1/orders/").status_code for _ in range(4)]

    assert statuses == [200] * 4
    assert time.monotonic() - began >= 0.15


def test_those_who_wait_never_take_all_threads(customer, make_rule):
    make_rule(algorithm="leaky_bucket", rate=2, burst=0, max_wait_ms=2000, on_limit="queue")
    statuses = []
    start = threading.Barrier(6)

    def ask():
        from django.db import connection

        start.wait()
        statuses.append(client_of(customer).get("/api/v1/orders/").status_code)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200, 200, 200, 429, 429, 429]


def test_pay_and_cancel_are_limited_as_producers_of_their_queues(api, make_rule):
    make_rule(name="p", applies_to="produce:payments", key="all", rate=1, window_ms=60_000, burst=1)
    url = "/api/v1/orders/01890000-0000-7000-8000-000000000000/"

    assert [api.post(f"{url}pay/", {"payment_method": "pm_ok"}, format="json").status_code for _ in range(2)] == [404, 429]
    assert api.post(f"{url}cancel/", {}, format="json").status_code == 404


def test_admission_refuses_over_the_items_rate_and_burns_no_token(customers, make_item, make_rule, stack):
    item = make_item(units=10)
    make_rule(applies_to="admission", key="item", rate=1, window_ms=60_000, burst=2)
    buyers = customers(3)
    tokens = [gate.issue_token(item.pk, buyer.pk).token for buyer in buyers]

    def post(index):
        body = {"token": tokens[index], "sku": "thing", "quantity": 1, "source": "shop", "seq": f"s{index}"}
        return client_of(buyers[index]).post("/api/v1/orders/", body, format="json")

    answers = [post(index) for index in range(3)]

    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json()["code"] == "rate_limited"
    assert 59 <= int(answers[2]["Retry-After"]) <= 60
    assert gate.stocks([item.pk]) == {item.pk: 8}
    assert post(0).headers["Idempotency-Replayed"] == "true"  # a replay is no new order
    LimitRule.objects.all().delete()
    publish.publish()
    ruleset().forget()
    assert post(2).status_code == 202


def test_a_sold_out_item_charges_no_rate(customers, make_item, make_rule, order):
    item = make_item(units=1)
    make_rule(applies_to="admission", key="item", rate=1, window_ms=60_000, burst=2)
    buyers = customers(2)
    tokens = [gate.issue_token(item.pk, buyer.pk).token for buyer in buyers]
    order(item, buyers[0], token=tokens[0])

    from inventory.errors import SoldOut

    for _ in range(5):
        with pytest.raises(SoldOut):
            order(item, buyers[1], token=tokens[1])


# --- whose request -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("remote", "forwarded", "expected"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # a stranger's header is not believed
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.2.3.4, 198.51.100.1", "198.51.100.1"),  # what the client wrote in front is not believed
        ("10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "rubbish", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "", "203.0.113.9"),
        ("", "", "unknown"),
    ],
)
def test_the_client_address_is_the_last_one_that_is_not_ours(remote, forwarded, expected):
    assert client_address(remote, forwarded, ["10.0.0.0/8"]) == expected


def test_a_long_key_is_kept_short():
    assert len(plain().redis_key("x" * 10_000)) < 100
    assert isinstance(Rule.from_values(plain().as_values()), Rule)
    assert limiter().check([]).allowed
