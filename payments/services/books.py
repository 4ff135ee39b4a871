"""What providers hold, as far as our database says it."""

from django.conf import settings

from payments.providers.registry import provider

# The books of a provider that are elsewhere are what its answers have told us; `reconcile_payments` compares them.
_TOLD = """
SELECT p.idempotency_key, p.provider_ref, p.amount, p.currency,
    coalesce((SELECT sum(f.amount) FROM payments_refund f WHERE f.payment_id = p.id AND f.status = 'succeeded'), 0)
FROM payments_payment p WHERE p.status = 'succeeded' AND p.provider NOT IN ({})
"""


def books_sql() -> str:
    """A subquery with the columns ``key, ref, amount, currency, refunded``: every captured charge of every provider."""
    own = {name: sql for name in settings.PAYMENT_PROVIDERS if (sql := provider(name).books_sql)}
    names = ", ".join(f"'{name}'" for name in own) or "''"
    return "(" + " UNION ALL ".join([*own.values(), _TOLD.format(names)]) + ")"
