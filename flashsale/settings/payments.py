"""Payment providers."""

from flashsale.settings import env

PAYMENT_PROVIDER = "sandbox"
SANDBOX_WEBHOOK_SECRET = env.text("SANDBOX_WEBHOOK_SECRET", "")
WEBHOOK_TOLERANCE_S = 300
