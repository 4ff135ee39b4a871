"""Payment providers."""

PAYMENT_PROVIDER = "sandbox"
SANDBOX_WEBHOOK_SECRET = ""  # dev and production name one; an empty one verifies nothing
WEBHOOK_TOLERANCE_S = 300
