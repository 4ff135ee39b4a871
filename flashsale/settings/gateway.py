"""The gateway in front of the web process; read by ``manage.py gateway_config``, which writes Envoy's files."""

from flashsale.settings import env

GATEWAY_DIR = env.text("GATEWAY_DIR", str(env.VAR_DIR / "gateway"))
GATEWAY_LISTEN = env.address("GATEWAY_LISTEN", "127.0.0.1:8000")
# For operators alone: /health/ready and /metrics, which the public address does not have.
GATEWAY_OPERATOR_LISTEN = env.address("GATEWAY_OPERATOR_LISTEN", "127.0.0.1:8090")
GATEWAY_ADMIN = env.text("GATEWAY_ADMIN", f"{GATEWAY_DIR}/admin.sock")  # Envoy's own Unix socket: statistics, draining
# Of each fleet: host:port, or several of them with commas between. A name that stands for several hosts gives them all.
_WEB = env.text("GATEWAY_WEB", "127.0.0.1:8001")
GATEWAY_WEB = env.addresses("GATEWAY_WEB", _WEB)
GATEWAY_SIGNIN = env.addresses("GATEWAY_SIGNIN", _WEB)  # passwords are checked there
GATEWAY_STAFF = env.addresses("GATEWAY_STAFF", _WEB)  # the admin, the API's description, what operators ask
GATEWAY_CANARY = env.addresses("GATEWAY_CANARY", "127.0.0.1:8002")
GATEWAY_EDGE = env.address("GATEWAY_EDGE", "127.0.0.1:8091")  # where the publisher of the gateway's own answers listens
GATEWAY_RATELIMIT = env.address("GATEWAY_RATELIMIT", "127.0.0.1:8081")
GATEWAY_TRUSTED_HOPS = env.integer("GATEWAY_TRUSTED_HOPS", 0, low=0, high=20)  # proxies of our own in front of it
GATEWAY_CONNECTIONS = env.integer("GATEWAY_CONNECTIONS", 16_000, low=1, high=1_000_000)

# The local bucket of each client address: what costs us no more than a look is refused here. Units per second.
GATEWAY_ADDRESS_RATE = env.integer("GATEWAY_ADDRESS_RATE", 3_000, low=1, high=1_000_000)
GATEWAY_ADDRESS_BURST = env.integer("GATEWAY_ADDRESS_BURST", 6_000, low=1, high=10_000_000)
# Buckets kept; the one unused for longest makes room.
GATEWAY_ADDRESSES = env.integer("GATEWAY_ADDRESSES", 50_000, low=1, high=10_000_000)

# A body over this is refused everywhere; for the API, MAX_BODY_BYTES holds. The admin's forms may be larger.
GATEWAY_BODY_BYTES = 4 * 1024 * 1024
