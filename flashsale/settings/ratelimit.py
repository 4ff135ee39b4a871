"""Rate limits: where their state is kept. The rules themselves are rows, edited in the admin."""

from flashsale.settings import env

_broker = env.text("CELERY_BROKER_URL")
# Not the gate's Redis, which writes every change to disk: a limit that is forgotten does no harm.
RATELIMIT_REDIS_URL = env.text("RATELIMIT_REDIS_URL", _broker if _broker.startswith("redis") else env.text("REDIS_URL"))
# Where the published rules are read; a mirror counts in a Redis of its own and goes by the rules of all.
RATELIMIT_RULES_URL = env.text("RATELIMIT_RULES_URL", RATELIMIT_REDIS_URL)
RATELIMIT_TIMEOUT_S = env.number("RATELIMIT_TIMEOUT_S", 0.25)
RATELIMIT_OPEN_S = env.number("RATELIMIT_OPEN_S", 1.0)  # how long the breaker stays open before it probes
RATELIMIT_RULES_SOURCE = "flashsale.limits.publish.load"
RATELIMIT_WAITERS = env.integer("RATELIMIT_WAITERS", 2)  # requests of a process that may wait for their turn at once

# The web processes this one belongs to: rules may be for one fleet only. A mirror tries the canary's.
FLEET = env.text("FLEET", "main")
RATELIMIT_FLEET = "canary" if FLEET == "mirror" else FLEET

# Proxies whose X-Forwarded-For is believed, as networks; from anybody else the header is ignored.
TRUSTED_PROXIES = env.names("TRUSTED_PROXIES")
