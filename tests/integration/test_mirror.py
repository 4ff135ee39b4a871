"""A real gateway that copies requests to a real mirror: what the mirror sees, and what it cannot touch."""

import json
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
import redis
from django.conf import settings as django_settings
from django.core.management import call_command

from flashsale.gateway import canary, envoy_admin
from flashsale.limits import services
from flashsale.limits.models import LimitRule
from flashsale.stack import mirror
from inventory.admission import gate, keys
from inventory.models import SaleItem
from orders.models import Order
from payments.models import Payment, SandboxCharge
from tests.conftest import ROOT, Process, environment, eventually, running
from tests.integration.test_canary import _answers, _order, bearer
from tests.integration.test_gateway import GRANIAN, Gateway
from tests.servers import STACK

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "only-looks"


class Mirror:
    """The process, and what it has in its own Redis database."""

    def __init__(self, port):
        self.port = port
        self.variables = mirror.environment(environment() | STACK.mirror_addresses | {"MIRROR_PASSWORD": PASSWORD})
        admin = f"{STACK.admin_addresses['CELERY_BROKER_URL'].rpartition('/')[0]}/1"
        self.redis = redis.Redis.from_url(admin, decode_responses=True)
        self.process = None

    def start(self, variables):
        command = (*GRANIAN, "--port", str(self.port), "--log-level", "warning", "flashsale.wsgi:application")
        self.process = Process("mirror-web", *command, **(variables | self.variables))

    def buyers(self, item):
        return {int(customer): int(units) for customer, units in self.redis.hgetall(keys.buyers(item.pk)).items()}

    def has_gate(self, item):
        version = self.redis.hget(keys.meta(item.pk), "version")
        return version is not None and int(version) == SaleItem.objects.get(pk=item.pk).gate_version


@pytest.fixture(scope="module")
def _fleets(django_db_setup, django_db_blocker, tmp_path_factory):
    gateway, second = Gateway(tmp_path_factory.mktemp("mirror")), Gateway(tmp_path_factory.mktemp("unused"))
    gateway.variables |= {
        "GATEWAY_MIRROR": f"127.0.0.1:{second.web_port}",
        "GATEWAY_ADDRESS_RATE": "100000",
        "GATEWAY_ADDRESS_BURST": "100000",
    }
    with django_db_blocker.unblock():
        manage_as_superuser("mirror_role", MIRROR_PASSWORD=PASSWORD)
        gateway.mirror = Mirror(second.web_port)
        main = gateway.start_web()
        gateway.mirror.start(gateway.variables)
        envoy = gateway.start_envoy()
    with running(main), running(envoy):
        eventually(gateway.is_ready, within=30, what=f"{envoy.log} {main.log}")
        yield gateway
        gateway.mirror.process.stop()


@pytest.fixture
def fleets(clean_redis, _fleets, settings):
    settings.GATEWAY_DIR, settings.GATEWAY_ADMIN = _fleets.variables["GATEWAY_DIR"], _fleets.admin
    own = _fleets.mirror
    if own.process.popen.poll() is not None:
        own.start(_fleets.variables)
    eventually(lambda: _answers(_fleets, own.port), within=30, what=own.process.log)
    own.redis.flushdb()
    set_percent(100)
    return _fleets


def manage_as_superuser(command, **variables):
    own = environment() | variables | {"DATABASE_URL": STACK.admin_addresses["DATABASE_URL"]}
    subprocess.run([sys.executable, "manage.py", command], cwd=ROOT, env=own, check=True)


def set_percent(percent):
    assert canary.put_in_force(Path(django_settings.GATEWAY_DIR), canary.Setting(percent, "mirror"))


def order_all(fleets, people, item):
    eventually(lambda: fleets.mirror.has_gate(item), what=fleets.mirror.process.log)
    return [_order(fleets, customer, item, f"seq-{customer.pk}") for customer in people]


def test_the_mirror_admits_the_copies_and_the_shop_has_each_original_once(fleets, workers, make_item, customers):
    item, people = make_item(units=100), customers(20)

    answers = order_all(fleets, people, item)

    assert [(status, headers["x-fleet"]) for status, headers, _ in answers] == [(202, "main")] * 20
    everybody = {customer.pk: 1 for customer in people}
    eventually(lambda: fleets.mirror.buyers(item) == everybody, what=fleets.mirror.process.text)
    eventually(lambda: int(fleets.mirror.redis.hget(keys.meta(item.pk), "sold")) == 20)
    eventually(lambda: Payment.objects.filter(status="succeeded").count() == 20, within=30)
    assert sorted(str(pk) for pk in Order.objects.values_list("pk", flat=True)) == sorted(
        json.loads(content)["id"] for _, _, content in answers
    )
    assert gate.stocks([item.pk]) == {item.pk: 80}
    assert SandboxCharge.objects.count() == 20
    with redis.Redis.from_url(django_settings.CELERY_BROKER_URL) as broker:
        eventually(lambda: not any(broker.llen(queue) for queue in django_settings.QUEUES))


def test_the_percentage_of_the_customers_is_copied_and_the_others_are_not(fleets, make_item, customers):
    item, people = make_item(units=200), customers(60)
    set_percent(50)

    order_all(fleets, people, item)
    set_percent(100)
    last = customers(1, "last")[0]
    order_all(fleets, [last], item)

    eventually(lambda: last.pk in fleets.mirror.buyers(item))
    assert 15 <= len(fleets.mirror.buyers(item)) <= 46
    assert gate.stocks([item.pk]) == {item.pk: 139}


def test_postgresql_refuses_what_a_mirror_would_write(fleets, make_item):
    item = make_item()
    with psycopg2.connect(fleets.mirror.variables["DATABASE_URL"]) as link, link.cursor() as cursor:
        cursor.execute("SELECT available FROM inventory_saleitem WHERE id = %s", [item.pk])
        assert cursor.fetchone() == (10,)
        with pytest.raises(psycopg2.errors.ReadOnlySqlTransaction):
            cursor.execute("UPDATE inventory_saleitem SET available = 0")
        link.rollback()
        cursor.execute("SET TRANSACTION READ WRITE")
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute("UPDATE inventory_saleitem SET available = 0")
        link.rollback()
    link.close()


def test_a_rule_of_the_canary_refuses_in_the_mirror_and_no_customer_notices(fleets, make_item, customers):
    item = make_item(units=100)
    limit = {"key": "item", "algorithm": "token_bucket", "rate": 1, "burst": 3, "window_ms": 3_600_000, "fleet": "canary"}
    services.save_rule(LimitRule(name="canary-only", applies_to="admission", **limit), actor="test")
    probe = {"key": "all", "algorithm": "token_bucket", "rate": 1000, "burst": 1000, "fleet": "canary"}
    services.save_rule(LimitRule(name="probe", applies_to="api:sales", **probe), actor="test")

    def is_in_force():
        headers = fleets.send("GET", "/api/v1/sales/", address="127.0.0.1", port=fleets.mirror.port)[1]
        return "probe" in (headers["ratelimit-policy"] or "")

    eventually(is_in_force, within=5)

    answers = order_all(fleets, customers(10), item)

    assert {status for status, _, _ in answers} == {202}
    eventually(lambda: len(fleets.mirror.buyers(item)) == 3, what=fleets.mirror.process.log)
    counts = "cluster.mirror.upstream_rq_429"
    eventually(lambda: _stat(fleets, counts) >= 7, what=counts)
    assert len(fleets.mirror.buyers(item)) == 3
    assert gate.stocks([item.pk]) == {item.pk: 90}


def test_a_copy_counts_for_the_address_of_its_customer_and_only_in_the_mirror(fleets, make_item):
    make_item()
    rule = {"key": "address", "algorithm": "token_bucket", "rate": 1, "burst": 5, "window_ms": 3_600_000, "fleet": "all"}
    services.save_rule(LimitRule(name="by-address", applies_to="api:sales", **rule), actor="test")
    eventually(lambda: fleets.send("GET", "/api/v1/sales/", address="127.0.0.90")[1]["ratelimit-policy"], within=5)
    mine = ("GET", "/api/v1/sales/")

    def counted():
        fleets.send(*mine, address="127.0.0.1", port=fleets.mirror.port)
        return list(fleets.mirror.redis.scan_iter("fs:{limits}:by-address:*"))

    eventually(counted, within=5)

    answers = [fleets.send(*mine, address="127.0.0.91") for _ in range(5)]

    assert [status for status, _, _ in answers] == [200] * 5
    eventually(lambda: any(key.endswith(":127.0.0.91") for key in counted()), what=counted())


def _stat(gateway, name):
    found = envoy_admin.ask(gateway.admin, f"/stats?filter=^{name}$")
    return int(found.rpartition(b":")[2] or 0)


def test_a_mirror_that_is_killed_is_noticed_by_no_customer(fleets, make_item, customers):
    item, people = make_item(units=100), customers(30)
    before = order_all(fleets, people[:10], item)

    fleets.mirror.process.kill()
    after = [_order(fleets, customer, item, f"seq-{customer.pk}") for customer in people[10:]]
    reads = [fleets.send("GET", "/api/v1/orders/", address="127.0.0.1", headers=bearer(person.pk)) for person in people]

    assert [status for status, _, _ in before + after] == [202] * 30
    assert {status for status, _, _ in reads} == {200}


def test_the_command_says_which_mode_is_set(fleets, capsys):
    call_command("canary", "15", "--mode", "mirror")
    call_command("canary")

    assert capsys.readouterr().out.split("\n")[:2] == ["mirror 15: in force", "mirror 15"]


def test_a_rehearsal_shows_how_the_rule_flattens_the_mirrors_curve_alone(fleets, workers, tmp_path):
    found, graph = tmp_path / "rehearsal.json", tmp_path / "rehearsal.png"
    command = ("python", "manage.py", "rehearse", "--units", "200", "--buyers", "120", "--seconds", "6")
    options = ("--canary", "100", "--mode", "mirror", "--canary-rate", "1", "--url", f"http://127.0.0.1:{fleets.port}")

    with running(Process("rehearsal", *command, *options, "--json", found, "--plot", graph, **fleets.variables)) as rehearsal:
        assert rehearsal.popen.wait(90) == 0, rehearsal.text()

    shown = json.loads(found.read_text())
    main, copied = shown["fleets"]["main"], shown["fleets"]["mirror"]
    assert sum(main["admitted"]) == 120
    assert sum(main["limited"]) == 0
    assert sum(copied["offered"]) >= 110  # a mirror that has no gate of the new sale yet says so
    assert max(copied["admitted"][2:]) <= 5 < 10 <= max(main["admitted"])
    assert sum(copied["limited"]) >= 60
    assert sum(shown["answers of the mirror"].values()) >= 200
    assert graph.stat().st_size > 10_000
    assert str(canary.current(Path(django_settings.GATEWAY_DIR))) == "mirror 100"
    assert not LimitRule.objects.exists()
