"""Whether what PostgreSQL refused is the order's fault, or may be ours."""

import re
from decimal import Decimal

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError

from inventory.admission.admitted import AdmittedOrder
from inventory.models import LARGEST_AMOUNT
from orders.models import Order

_CHECK_VIOLATION, _NOT_NULL_VIOLATION, _DATA_EXCEPTION_CLASS = "23514", "23502", "22"
_UNSTORABLE = re.compile("[\\0\\ud800-\\udfff]")  # what no text of PostgreSQL can hold: NUL, half a surrogate pair


def can_never_fit(error: Exception, order: AdmittedOrder) -> bool:
    """Whether there is no cure for an order: the database refused it alone, and one of its own values is why.

    An exception of our own code is never evidence, nor is a column, constraint or type that only another release knows: then
    the order's values are as good as those of every other order, and a process of that release can take it.

    Args:
        error: raised by a statement that had no other order in it.
    """
    return _is_refusal(error) and _has_a_bad_value(order)


def _is_refusal(error: Exception) -> bool:
    if not isinstance(error, IntegrityError | DataError):
        return False
    sqlstate = getattr(error.__cause__, "pgcode", None) or ""
    return sqlstate in (_CHECK_VIOLATION, _NOT_NULL_VIOLATION) or sqlstate.startswith(_DATA_EXCEPTION_CLASS)


def _has_a_bad_value(order: AdmittedOrder) -> bool:
    values = {
        "sku": order.sku,
        "quantity": order.units,
        "unit_price": order.price,
        "currency": order.currency,
        "source": order.source,
        "seq": order.seq,
        "digest": order.digest,
        "payment_method": order.method,
    }
    others = [each.name for each in Order._meta.fields if each.name not in values]
    try:
        Order(**values).clean_fields(exclude=others)
        get_user_model()._meta.pk.run_validators(order.customer)
        too_much = Decimal(order.price) * order.units > LARGEST_AMOUNT
    except (ValidationError, ArithmeticError):
        return True
    texts = " ".join(map(str, order.as_payload().values()))
    return too_much or order.units < 1 or bool(_UNSTORABLE.search(texts))
