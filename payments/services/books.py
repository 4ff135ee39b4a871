"""What providers hold, according to our database."""

from django.conf import settings

from payments.providers.registry import provider

# For an external provider these are the recorded answers. `reconcile_payments` compares them with its books.
_TOLD = """
SELECT p.idempotency_key, p.provider_ref, p.amount, p.currency,
    coalesce((SELECT sum(f.amount) FROM payments_refund f WHERE f.payment_id = p.id AND f.status = 'succeeded'), 0)
FROM payments_payment p WHERE p.status = 'succeeded' AND p.provider NOT IN ({})
"""


def books_sql() -> str:
    """A subquery of every captured charge of every provider, with the columns ``key, ref, amount, currency, refunded``."""
    own = {name: sql for name in settings.PAYMENT_PROVIDERS if (sql := provider(name).books_sql)}
    names = ", ".join(f"'{name}'" for name in own) or "''"
    return "(" + " UNION ALL ".join([*own.values(), _TOLD.format(names)]) + ")"


def books_of(key: str) -> str:
    """The charges of one idempotency key, for ``JOIN LATERAL ... ON true``.

    PostgreSQL finds them by index, even without table statistics.

    Args:
        key: an SQL expression, such as ``p.idempotency_key``.
    """
    return f"(SELECT * FROM {books_sql()} of_all WHERE of_all.key = {key} OFFSET 0)"  # noqa: S608
