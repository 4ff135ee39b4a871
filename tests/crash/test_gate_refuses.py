"""The gate's Redis answers, but refuses: no answer is a 500, nothing is half done, the same requests go through afterwards."""

from contextlib import contextmanager

import pytest

from flashsale.core.own_connection import own_connection
from flashsale.core.redis_client import gate_client
from inventory.admission import gate, keys
from inventory.errors import GateUnavailable
from tests.conftest import eventually
from tests.crash.crowd import call, order_body
from tests.crash.scene import open_sale

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def _configured(name, value):
    admin = gate_client()
    before = admin.config_get(name)[name]
    admin.config_set(name, value)
    try:
        yield
    finally:
        admin.config_set(name, before)


def out_of_memory():
    return _configured("maxmemory", "1")


def too_few_replicas():
    return _configured("min-replicas-to-write", "1")


@contextmanager
def demoted():
    """The primary of before, after a failover."""
    admin = gate_client()
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        admin.execute_command("REPLICAOF", "NO", "ONE")


@contextmanager
def not_permitted():
    """Somebody has changed what our user may do."""
    admin = gate_client()
    user = admin.acl_whoami()
    admin.execute_command("ACL", "SETUSER", user, "-evalsha", "-eval")
    try:
        yield
    finally:
        admin.execute_command("ACL", "SETUSER", user, "+@all")


@contextmanager
def signed_out():
    """Somebody has changed our user's password, and the connections of before are cut."""
    admin = gate_client()
    user = admin.acl_whoami()
    passwords = [f"#{each.lstrip('#')}" for each in admin.acl_getuser(user)["passwords"]]
    with admin.client() as own:  # a connection that stays
        others = [client["id"] for client in own.client_list() if int(client["id"]) != own.client_id()]
        own.execute_command("ACL", "SETUSER", user, "resetpass", ">another")
        for client in others:
            own.execute_command("CLIENT", "KILL", "ID", client)
        try:
            yield
        finally:
            own.execute_command("ACL", "SETUSER", user, "resetpass", *passwords)
    admin.connection_pool.disconnect()


def _everything(url, sale, token, waiting):
    customer, other = sale.customers[:2]
    item = f"/api/v1/sales/{sale.slug}"
    return {
        "token": call(url, "POST", f"{item}/items/thing/purchase-tokens/", {}, other),
        "order": call(url, "POST", "/api/v1/orders/", order_body(sale.slug, token, customer), customer),
        "sale": call(url, "GET", f"{item}/"),
        "me": call(url, "GET", f"{item}/me/", customer=customer),
        "orders": call(url, "GET", "/api/v1/orders/", customer=customer),
        "another order": call(url, "GET", f"/api/v1/orders/{waiting}/", customer=other),
        "pay": call(url, "POST", f"/api/v1/orders/{waiting}/pay/", {"payment_method": "pm_ok"}, other),
        "ticket": call(url, "GET", f"/api/v1/waiting-room/{token}/", customer=customer),
    }


@pytest.mark.parametrize("state", [out_of_memory, too_few_replicas, demoted, not_permitted, signed_out])
def test_a_gate_that_refuses_is_503_and_nothing_is_half_done(state, live_url, no_workers):
    sale = open_sale("refusing", customers=4, units=10)
    customer, other = sale.customers[:2]
    path = f"/api/v1/sales/{sale.slug}/items/thing/purchase-tokens/"
    first = call(live_url, "POST", path, {}, other)[1]["token"]
    waiting = call(live_url, "POST", "/api/v1/orders/", order_body(sale.slug, first, other), other)[1]["id"]
    token = call(live_url, "POST", path, {}, customer)[1]["token"]

    with state():
        answers = _everything(live_url, sale, token, waiting)

    broken = {name: (status, body) for name, (status, body, _) in answers.items() if status >= 500 and status != 503}
    assert broken == {}
    assert all(headers["Retry-After"] for status, _, headers in answers.values() if status == 503)
    assert answers["token"][0] in (201, 503)
    taken = 1 + (answers["order"][0] == 202)  # an order is admitted whole or not at all
    again = eventually(
        lambda: (
            (answer := call(live_url, "POST", "/api/v1/orders/", order_body(sale.slug, token, customer), customer))[0] != 503
            and answer
        )
    )
    assert again[0] == 202
    assert (again[2]["Idempotency-Replayed"] == "true") == (taken == 2)
    assert gate.stocks([sale.item]) == {sale.item: 8}
    assert len(gate_client().hgetall(keys.held(sale.item))) == 2
    assert gate_client().xlen(keys.admitted(sale.item)) == 2


def test_nobody_stays_connected_to_a_primary_of_before(no_workers):
    sale = open_sale("failover", customers=1, units=1)
    gate.issue_token(sale.item, sale.customers[0])
    mine = own_connection(gate_client())
    mine.connect()

    admin = gate_client().client()  # apart from the pool's
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(GateUnavailable):
            gate.issue_token(sale.item, sale.customers[0])
    finally:
        admin.execute_command("REPLICAOF", "NO", "ONE")

    assert mine._sock is None
    assert [each for each in gate_client().connection_pool._available_connections if each._sock] == []
    assert gate.issue_token(sale.item, sale.customers[0]).token
