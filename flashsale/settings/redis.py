"""The gate: the Redis that admits orders. It runs with AOF and ``appendfsync always``."""

from flashsale.settings import env

REDIS_URL = env.text("REDIS_URL")
REDIS_CONNECT_TIMEOUT_S = 0.5
REDIS_TIMEOUT_S = env.number("REDIS_TIMEOUT_S", 2.0)
REDIS_HEALTH_CHECK_INTERVAL_S = 15

# One key per (source, seq) over all items needs one slot map; a cluster keeps receipts with their item instead
# and leaves the clash of two items to the unique index in PostgreSQL.
REDIS_CLUSTER = env.text("REDIS_CLUSTER", "0") == "1"

# Long enough for a slow form, short enough that a hoarded token dies.
PURCHASE_TOKEN_TTL_S = env.integer("PURCHASE_TOKEN_TTL_S", 300)
# Unused ones of one item that a customer may have at a time, so that nobody fills the gate's memory.
PURCHASE_TOKENS_PER_CUSTOMER = max(1, env.integer("PURCHASE_TOKENS_PER_CUSTOMER", 10))
WAITING_ROOM_TURN_S = env.integer("WAITING_ROOM_TURN_S", 60)  # a called-up customer's token; the line waits for them meanwhile
# The longest that a ticket is told to wait before it asks again.
WAITING_ROOM_RETRY_S = max(1, env.integer("WAITING_ROOM_RETRY_S", 5))
WAITING_ROOM_LAPSE_S = 4 * WAITING_ROOM_RETRY_S  # a place in line, or a turn, that nobody asks about
# Polls of one line while its end is near; a line of over RETRY_S times as many sends its number / RETRY_S at any time.
WAITING_ROOM_POLLS_PER_S = max(1, env.integer("WAITING_ROOM_POLLS_PER_S", 1_000))
RECEIPT_TTL_S = env.integer("RECEIPT_TTL_S", 24 * 3600)  # past it a repeated request is answered from PostgreSQL
BACKLOG_LIMIT = env.integer("BACKLOG_LIMIT", 100_000)  # admitted orders per item that may wait for the ledger
# An order that nobody knows is given up no sooner: a batch that was claimed before the gate was lost may still arrive.
LOST_ORDER_AFTER_S = 5
GATE_RETENTION_S = env.integer("GATE_RETENTION_S", 24 * 3600)  # an ended sale's keys are kept this long
