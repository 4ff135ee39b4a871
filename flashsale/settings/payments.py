"""Payment providers, and how often a customer may try a card."""

from flashsale.settings import env

PAYMENT_PROVIDER = "sandbox"
SANDBOX_WEBHOOK_SECRET = ""  # dev and production name one; an empty one verifies nothing
WEBHOOK_TOLERANCE_S = 300
PAYMENT_ATTEMPTS_PER_ORDER = env.integer("PAYMENT_ATTEMPTS_PER_ORDER", 10, low=1, high=1_000)
# Of one customer, that expired without a payment; from then on they order it no more.
UNPAID_ORDERS_PER_ITEM = env.integer("UNPAID_ORDERS_PER_ITEM", 3, low=1, high=1_000_000)
# A customer's payments over all orders that have not succeeded.
FAILED_PAYMENTS_PER_HOUR = env.integer("FAILED_PAYMENTS_PER_HOUR", 30, low=1, high=10_000)
