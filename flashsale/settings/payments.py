"""Payment providers, and how often a customer may try a card."""

from collections.abc import Sequence

from flashsale.settings import env


def provider_options(names: Sequence[str]) -> dict[str, dict[str, str]]:
    """What the environment says to each provider: NAME_KEY=value is KEY: value."""
    return {name: env.options(f"{name.upper()}_") for name in names}


def serving_provider(options: dict[str, dict[str, str]]) -> str:
    """The provider that new payments go to."""
    return next((name for name, of_it in options.items() if of_it.get("API_KEY")), list(options)[-1])


# Modules of payments.providers. The first one whose <NAME>_API_KEY is set serves; the last needs none, and moves no real money.
# The others look after the payments that they have made.
PAYMENT_PROVIDERS = env.names("PAYMENT_PROVIDERS", "stripe,sandbox")
PROVIDER_OPTIONS = provider_options(PAYMENT_PROVIDERS)
PAYMENT_PROVIDER = serving_provider(PROVIDER_OPTIONS)


WEBHOOK_TOLERANCE_S = 300
PROVIDER_EVENT_RETENTION_DAYS = env.integer("PROVIDER_EVENT_RETENTION_DAYS", 90, low=1, high=3_650)  # of settled ones
PAYMENT_ATTEMPTS_PER_ORDER = env.integer("PAYMENT_ATTEMPTS_PER_ORDER", 10, low=1, high=1_000)
# Of one customer, that expired without a payment; from then on they order it no more.
UNPAID_ORDERS_PER_ITEM = env.integer("UNPAID_ORDERS_PER_ITEM", 3, low=1, high=1_000_000)
# A customer's payments over all orders that have not succeeded.
FAILED_PAYMENTS_PER_HOUR = env.integer("FAILED_PAYMENTS_PER_HOUR", 30, low=1, high=10_000)
