"""The whole is whole: every acknowledged order paid, ledger and gate equal, nothing under way."""

from orders.models import Order
from payments.models import SandboxCharge
from tasks.repair.audit import audit
from tests.conftest import eventually


def assert_all_paid(sale, acknowledged, *, within=30):
    count = len(acknowledged)
    assert count == len(set(acknowledged)) > 0
    paid = Order.objects.filter(pk__in=acknowledged, status="paid")
    eventually(lambda: paid.count() == count, within=within, what=lambda: f"{paid.count()} of {count} paid")
    report = eventually(lambda: (r := audit(sale.slug)) and not r.in_flight and r, within=within)
    assert report.is_clean, [check for check in report.checks if check.breaches]
    assert SandboxCharge.objects.filter(outcome="captured").count() == Order.objects.filter(status="paid").count() >= count
