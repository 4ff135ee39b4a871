"""A real gateway in front of two fleets: who goes where, and whose rules hold there."""

import itertools
import json
import os
import signal
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError
from rest_framework_simplejwt.tokens import AccessToken

from flashsale.gateway import canary, routes
from flashsale.ratelimit.rules import services
from flashsale.ratelimit.rules.models import LimitRule
from inventory.admission import gate
from inventory.models import SaleItem
from tests.conftest import BIN, Process, eventually, running
from tests.integration.test_gateway import GRANIAN, Gateway, _listens

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
CUSTOMERS = 1000


class Canary:
    """A process that a test may end or freeze."""

    def __init__(self, port):
        self.port, self.process = port, None

    def start(self, variables):
        command = (*GRANIAN, "--port", str(self.port), "--log-level", "warning", "flashsale.asgi:application")
        self.process = Process("canary-web", *command, **variables, FLEET="canary")

    def kill(self):
        self.process.kill()
        eventually(lambda: not _listens(self.port))

    @contextmanager
    def frozen(self):
        os.killpg(self.process.popen.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.popen.pid, signal.SIGCONT)


@pytest.fixture(scope="module")
def _fleets(django_db_setup, django_db_blocker, tmp_path_factory):
    gateway, second = Gateway(tmp_path_factory.mktemp("canary")), Gateway(tmp_path_factory.mktemp("unused"))
    gateway.variables |= {
        "GATEWAY_CANARY": f"127.0.0.1:{second.web_port}",
        "GATEWAY_ADDRESS_RATE": "100000",
        "GATEWAY_ADDRESS_BURST": "100000",
    }
    with django_db_blocker.unblock():
        main = gateway.start_web()
        gateway.canary = Canary(second.web_port)
        gateway.canary.start(gateway.variables)
        envoy = gateway.start_envoy()
    with running(main), running(envoy):
        eventually(gateway.is_ready, within=30, what=f"{envoy.log} {main.log}")
        yield gateway
        gateway.canary.process.stop()


def _answers(gateway, port):
    try:
        return gateway.send("GET", "/health/live", address="127.0.0.1", port=port)[0] == 200
    except OSError:
        return False


@pytest.fixture
def fleets(clean_redis, _fleets, settings):
    settings.GATEWAY_DIR, settings.GATEWAY_ADMIN = _fleets.variables["GATEWAY_DIR"], _fleets.admin
    if _fleets.canary.process.popen.poll() is not None:
        _fleets.canary.start(_fleets.variables)
    set_percent(100)
    eventually(lambda: fleet_of(_fleets, bearer(1)) == "canary", within=30, what=_fleets.canary.process.log)
    set_percent(0)
    return _fleets


def set_percent(percent):
    from django.conf import settings

    assert routes.put_in_force(Path(settings.GATEWAY_DIR), canary.Setting(percent))


def bearer(customer):
    user = get_user_model()(pk=customer, username=str(customer))
    return {"Authorization": f"Bearer {AccessToken.for_user(user)}"}


def fleet_of(gateway, headers):
    status, found, _ = gateway.send("GET", "/api/v1/sales/", address="127.0.0.1", headers=headers)
    assert status in (200, 429)
    return found["x-fleet"]


def on_canary(gateway, customers):
    return {customer for customer in customers if fleet_of(gateway, bearer(customer)) == "canary"}


def test_a_customer_stays_on_one_side_and_stays_in_as_the_percentage_grows(fleets):
    customers = range(1, CUSTOMERS + 1)

    set_percent(20)
    at_20 = on_canary(fleets, customers)
    again = on_canary(fleets, range(1, 101))  # with new tokens
    set_percent(50)
    at_50 = on_canary(fleets, customers)

    assert 160 <= len(at_20) <= 240
    assert again == {customer for customer in at_20 if customer <= 100}
    assert 440 <= len(at_50) <= 560
    assert at_20 < at_50


def test_nobody_is_on_the_canary_at_0_and_everybody_at_100(fleets):
    assert on_canary(fleets, range(1, 51)) == set()

    set_percent(100)

    assert on_canary(fleets, range(1, 51)) == set(range(1, 51))


def test_a_session_has_its_side_too(fleets):
    set_percent(50)

    sides = [{fleet_of(fleets, {"Cookie": f"sessionid=s{number}"}) for _ in range(3)} for number in range(40)]

    assert all(len(side) == 1 for side in sides)
    assert {side.pop() for side in sides} == {"main", "canary"}


def test_a_client_does_not_choose_its_side(fleets):
    set_percent(10)
    customers = range(1, 61)
    honest = on_canary(fleets, customers)
    forged = [{"x-canary-bucket": "0"}, {"x-canary-bucket": "99"}, {"X-Fleet": "canary"}, {"x_canary_bucket": "0"}]

    for headers in forged:
        assert {number for number in customers if fleet_of(fleets, bearer(number) | headers) == "canary"} == honest


def test_only_the_customers_api_is_split(fleets):
    set_percent(100)

    paths = ["/health/live", "/admin/login/", "/api/schema/", "/api/v1/payments/webhooks/sandbox/"]
    found = [fleets.send("GET", path, address="127.0.0.1")[1]["x-fleet"] for path in paths]

    assert found == ["main"] * 4


def _order(gateway, customer, item, seq):
    token = gate.issue_token(item.pk, customer.pk).token
    order = {"token": token, "sku": "thing", "quantity": 1, "source": "shop", "seq": seq, "payment_method": "pm_ok"}
    headers = bearer(customer.pk) | {"Content-Type": "application/json"}
    return gateway.send("POST", "/api/v1/orders/", address="127.0.0.1", content=json.dumps(order).encode(), headers=headers)


def test_the_canarys_rule_holds_back_its_customers_and_no_others(fleets, make_item, customers):
    item = make_item(units=100)
    limit = {"key": "item", "algorithm": "token_bucket", "rate": 1, "burst": 3, "window_ms": 3_600_000, "fleet": "canary"}
    services.save_rule(LimitRule(name="canary-only", applies_to="admission", **limit), actor="test")
    probe = {"key": "all", "algorithm": "token_bucket", "rate": 1000, "burst": 1000, "fleet": "canary"}
    services.save_rule(LimitRule(name="probe", applies_to="api:sales", **probe), actor="test")
    set_percent(100)
    policy = ("GET", "/api/v1/sales/")
    eventually(lambda: "probe" in (fleets.send(*policy, address="127.0.0.1")[1]["ratelimit-policy"] or ""), within=5)
    set_percent(50)

    answers = [_order(fleets, customer, item, f"seq-{customer.pk}") for customer in customers(30)]

    by_fleet = {
        fleet: [status for status, headers, _ in answers if headers["x-fleet"] == fleet] for fleet in ("main", "canary")
    }
    assert set(by_fleet["main"]) == {202}
    assert sorted(by_fleet["canary"]) == [202] * 3 + [429] * (len(by_fleet["canary"]) - 3)
    assert len(by_fleet["canary"]) > 3
    assert gate.stocks([item.pk]) == {item.pk: 100 - len(by_fleet["main"]) - 3}


@contextmanager
def traffic(gateway):
    """Customers who ask without a pause while the test does its worst; yields what they saw: when each asked, status, fleet."""
    seen, stop, numbers = [], threading.Event(), itertools.count(1)

    def ask():
        while not stop.is_set():
            began, headers = time.monotonic(), bearer(next(numbers))
            status, found, _ = gateway.send("GET", "/api/v1/sales/", address="127.0.0.1", headers=headers)
            seen.append((began, status, found["x-fleet"]))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_change_of_the_percentage_drops_no_request(fleets):
    with traffic(fleets) as seen:
        for percent in (10, 90, 0, 50, 100, 20):
            before = len(seen)
            set_percent(percent)
            eventually(lambda at=before: len(seen) > at + 20)

    assert {status for _, status, _ in seen} == {200}
    assert {fleet for _, _, fleet in seen} == {"main", "canary"}


@pytest.mark.timed
def test_killed_canary_loses_requests_under_way_and_gets_customers_back(fleets):
    customers = range(1, 101)
    set_percent(50)
    mine = on_canary(fleets, customers)

    with traffic(fleets) as seen:
        eventually(lambda: len(seen) > 40)
        killed = time.monotonic()
        fleets.canary.kill()
        gone = time.monotonic()
        eventually(lambda: len(seen) > 400)

    assert {fleet for began, _, fleet in seen if began < killed} >= {"main", "canary"}
    assert {(status, fleet) for began, status, fleet in seen if began > gone} == {(200, "main")}
    assert {status for began, status, _ in seen if began < killed} <= {200, 503}
    assert sum(status == 503 for _, status, _ in seen) <= 4 * 2  # of each thread what was under way
    assert on_canary(fleets, customers) == set()

    fleets.canary.start(fleets.variables)
    eventually(lambda: fleet_of(fleets, bearer(min(mine))) == "canary", within=30, what=fleets.canary.process.log)
    assert on_canary(fleets, customers) == mine


def test_orders_for_a_canary_that_is_away_are_taken_by_main_once_each(fleets, make_item, customers):
    item = make_item(units=50)
    set_percent(100)
    fleets.canary.kill()

    answers = [_order(fleets, customer, item, f"seq-{customer.pk}") for customer in customers(20)]

    assert [(status, headers["x-fleet"]) for status, headers, _ in answers] == [(202, "main")] * 20
    assert gate.stocks([item.pk]) == {item.pk: 30}


def test_a_canary_that_hangs_is_left_within_15_seconds(fleets):
    set_percent(100)

    with fleets.canary.frozen():
        # 3 health checks of 2 s, 2 s apart, and one that may just have been answered.
        eventually(lambda: _fails_health_checks(fleets), within=15)
        found = {fleet_of(fleets, bearer(number)) for number in range(1, 31)}

    assert found == {"main"}
    eventually(lambda: on_canary(fleets, range(1, 31)) == set(range(1, 31)))


def _fails_health_checks(gateway):
    return "failed_active_health_check" in gateway.hosts("canary")[gateway.canary.port]["health_status"]


def test_the_command_says_what_is_set_and_a_restart_keeps_it(fleets, capsys):
    call_command("canary", "15", "--mode", "split")
    call_command("canary")
    call_command("gateway_config")
    call_command("canary")

    assert [line for line in capsys.readouterr().out.split("\n") if "split" in line] == [
        "split 15: active",
        "split 15",
        "split 15",
    ]


@pytest.mark.parametrize("wrong", [("101",), ("-1",), ("ten",), ("10", "--mode", "both")])
def test_the_command_refuses_what_is_no_percentage_or_mode_and_changes_nothing(fleets, wrong):
    set_percent(15)

    with pytest.raises(CommandError, match=r"PERCENT|percent|mode"):
        call_command("canary", *wrong)

    assert str(routes.current_canary(Path(fleets.variables["GATEWAY_DIR"]))) == "split 15"


def test_the_command_says_that_no_gateway_took_it(fleets, settings, tmp_path):
    settings.GATEWAY_ADMIN = str(tmp_path / "nobody.sock")
    with pytest.raises(CommandError, match=r"the gateway at .*nobody.sock did not accept it"):
        call_command("canary", "15")

    settings.GATEWAY_DIR = str(tmp_path / "nothing")
    with pytest.raises(CommandError, match=r"no gateway configuration in .*nothing"):
        call_command("canary", "15")


@pytest.mark.parametrize(
    "wrong",
    [("--canary", "0"), ("--canary", "101"), ("--canary-rate", "5")],
)
def test_a_rehearsal_refuses_options_that_do_not_go_together(fleets, wrong):
    with pytest.raises(CommandError, match="--canary"):
        call_command("rehearse", *wrong)


def test_a_rehearsal_without_a_gateway_says_so_and_leaves_no_rule(fleets, settings, tmp_path):
    settings.GATEWAY_ADMIN = str(tmp_path / "nobody.sock")

    with pytest.raises(CommandError, match="no gateway applied `split 5`"):
        call_command("rehearse", "--canary", "5", "--canary-rate", "5")

    assert not LimitRule.objects.exists()


# What a script puts in the background is deaf to SIGINT; the tests may be.
HEARING, DEAF = ("/usr/bin/env", "--default-signal=INT"), ("/usr/bin/env", "--ignore-signal=INT")


@pytest.mark.parametrize(("sign", "ears"), [(signal.SIGINT, HEARING), (signal.SIGTERM, HEARING), (signal.SIGTERM, DEAF)])
def test_a_rehearsal_that_is_interrupted_sets_the_canary_back(fleets, sign, ears):
    set_percent(7)
    command = (str(BIN / "python"), "manage.py", "rehearse", "--units", "500", "--buyers", "500", "--seconds", "60")
    options = ("--canary", "30", "--canary-rate", "5", "--url", f"http://127.0.0.1:{fleets.port}")
    directory = Path(fleets.variables["GATEWAY_DIR"])

    with running(Process("rehearsal", *ears, *command, *options, **fleets.variables)) as rehearsal:
        eventually(_is_selling, within=40, what=rehearsal.log)
        assert str(routes.current_canary(directory)) == "split 30"
        assert LimitRule.objects.filter(fleet="canary", rate=5).exists()
        rehearsal.popen.send_signal(sign)
        assert rehearsal.popen.wait(20) != 0

    assert routes.current_canary(directory) == canary.Setting(7)
    assert not LimitRule.objects.exists()
    customers = range(1, 301)
    assert len(on_canary(fleets, customers)) < 0.15 * len(customers)


def _is_selling():
    item = SaleItem.objects.filter(sale__slug__startswith="rehearsal-").first()
    left = gate.stocks([item.pk]).get(item.pk) if item else None
    return left is not None and left < item.allocated - 3


@pytest.mark.parametrize(
    ("version", "found"),
    [("split 15;abc", canary.Setting(15)), ("off;abc", canary.Setting()), ("mirror 15;abc", canary.Setting())],
)
def test_the_setting_is_read_from_the_routes_of_this_and_the_previous_release(version, found):
    assert canary.Setting.parse(version) == found
