"""Rate limits: where their state is kept. The rules themselves are rows, edited in the admin."""

from flashsale.settings import env
from flashsale.settings.redis import REDIS_SCHEMES

_broker = env.text("CELERY_BROKER_URL")
# Not the gate's Redis, which writes every change to disk: a limit that is forgotten does no harm.
RATELIMIT_REDIS_URL = env.url(
    "RATELIMIT_REDIS_URL", _broker if _broker.startswith("redis") else env.text("REDIS_URL"), schemes=REDIS_SCHEMES
)
RATELIMIT_TIMEOUT_S = env.number("RATELIMIT_TIMEOUT_S", 0.25, low=0.01, high=10)
# How long the breaker stays open before it probes.
RATELIMIT_OPEN_S = env.number("RATELIMIT_OPEN_S", 1.0, low=0.1, high=300)
RATELIMIT_RULES_SOURCE = "flashsale.ratelimit.rules.publish.load"
# Requests of a process that may wait for their turn at once.
RATELIMIT_WAITERS = env.integer("RATELIMIT_WAITERS", 2, low=0, high=1_000)

# The web processes this one belongs to: rules may be for one fleet only.
FLEET = env.choice("FLEET", "main", of=("main", "canary"))

# Proxies whose X-Forwarded-For is believed, as networks; from anybody else the header is ignored.
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
