"""The gate: the Redis that admits orders. It runs with AOF and ``appendfsync always``."""

from flashsale.settings import env

REDIS_SCHEMES = ("redis", "rediss", "unix")
REDIS_URL = env.url("REDIS_URL", schemes=REDIS_SCHEMES)
REDIS_CONNECT_TIMEOUT_S = 0.5
REDIS_TIMEOUT_S = env.number("REDIS_TIMEOUT_S", 2.0, low=0.01, high=60)
REDIS_HEALTH_CHECK_INTERVAL_S = 15

# Long enough for a slow form, short enough that a hoarded token dies.
PURCHASE_TOKEN_TTL_S = env.integer("PURCHASE_TOKEN_TTL_S", 300, low=1, high=86_400)
# Unused ones of one item that a customer may have at a time, so that nobody fills the gate's memory.
PURCHASE_TOKENS_PER_CUSTOMER = env.integer("PURCHASE_TOKENS_PER_CUSTOMER", 10, low=1, high=10_000)
# A called-up customer's token; the line waits for them meanwhile.
WAITING_ROOM_TURN_S = env.integer("WAITING_ROOM_TURN_S", 60, low=1, high=3_600)
# The longest that a ticket is told to wait before it asks again.
WAITING_ROOM_RETRY_S = env.integer("WAITING_ROOM_RETRY_S", 5, low=1, high=300)
# Whoever has not asked for so long is away: passed over, and a turn that they do not come for goes to the next.
WAITING_ROOM_LAPSE_S = 4 * WAITING_ROOM_RETRY_S
# Whoever has not asked for so long has no place any more.
WAITING_ROOM_KEEP_PLACE_S = max(WAITING_ROOM_LAPSE_S, env.integer("WAITING_ROOM_KEEP_PLACE_S", 120, low=1, high=86_400))
# Polls of one line while its end is near; a line of over RETRY_S times as many sends its number / RETRY_S at any time.
WAITING_ROOM_POLLS_PER_S = env.integer("WAITING_ROOM_POLLS_PER_S", 1_000, low=1, high=1_000_000)
# Past it a repeated request is answered from PostgreSQL.
RECEIPT_TTL_S = env.integer("RECEIPT_TTL_S", 24 * 3600, low=1, high=30 * 86_400)
# Admitted orders per item that may wait for the ledger.
BACKLOG_LIMIT = env.integer("BACKLOG_LIMIT", 100_000, low=1, high=10_000_000)
# An order that nobody knows is given up no sooner: a batch that was claimed before the gate was lost may still arrive.
LOST_ORDER_AFTER_S = 5
# An ended sale's keys are kept this long.
GATE_RETENTION_S = env.integer("GATE_RETENTION_S", 24 * 3600, low=10, high=30 * 86_400)
# A server that may evict keys or has no append-only file loses acknowledged orders: `required` refuses it, `warn` only tells.
GATE_DURABILITY = env.choice("GATE_DURABILITY", "required", of=("required", "warn"))
