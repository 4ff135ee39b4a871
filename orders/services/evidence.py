"""Decide whether a database error is caused by the order's own data."""

import re
from decimal import Decimal

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError

from inventory.admission.admitted import AdmittedOrder
from inventory.models import LARGEST_AMOUNT
from orders.models import Order

_CHECK_VIOLATION, _NOT_NULL_VIOLATION, _DATA_EXCEPTION_CLASS = "23514", "23502", "22"
_UNSTORABLE = re.compile("[\\0\\ud800-\\udfff]")  # not storable as PostgreSQL text: NUL and unpaired surrogates


def can_never_fit(error: Exception, order: AdmittedOrder) -> bool:
    """Whether an order can never be stored: PostgreSQL refused it alone, because of one of its own values.

    An exception from our own code is not evidence. Neither is an unknown column, constraint or type, because a process of
    another release may be able to store the order.

    Args:
        error: raised by a statement that contained only this order.
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
