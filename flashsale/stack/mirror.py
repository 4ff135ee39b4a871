"""The environment of a mirror: it names nothing real that could be written to."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from flashsale.stack.errors import StackError

ROLE = "flashsale_mirror"
_DATABASE = 1  # beside the broker's own


def environment(real: Mapping[str, str]) -> dict[str, str]:
    """What differs from the environment of the other processes.

    Args:
        real: with ``DATABASE_URL``, ``CELERY_BROKER_URL``, ``MIRROR_PASSWORD``. ``MIRROR_REDIS_URL`` is a database of the
            broker's server, as a user who reaches nothing else there but the rules of database 0. Left out: the broker's.

    Raises:
        StackError: the broker is no Redis with databases of its own.
    """
    database = urlsplit(real["DATABASE_URL"])
    own = real.get("MIRROR_REDIS_URL") or _beside_the_broker(real["CELERY_BROKER_URL"])
    host = database.netloc.rpartition("@")[2]
    return {
        "FLEET": "mirror",
        "DATABASE_URL": database._replace(netloc=f"{ROLE}:{quote(real['MIRROR_PASSWORD'], safe='')}@{host}").geturl(),
        "REDIS_URL": own,
        "CELERY_BROKER_URL": "memory://",
        # The gateway puts its own address behind the client's in a copy. Nobody but the gateway sends here.
        "TRUSTED_PROXIES": "0.0.0.0/0,::/0",
        "RATELIMIT_REDIS_URL": own,
        "RATELIMIT_RULES_URL": _rules_url(real, own),
    }


def _beside_the_broker(url: str) -> str:
    broker = urlsplit(url)
    if broker.scheme not in ("redis", "rediss") or broker.path.strip("/") not in ("", "0"):
        raise StackError("CELERY_BROKER_URL names no Redis whose database 1 is free")
    query = urlencode([(name, value) for name, value in parse_qsl(broker.query) if name != "db"])  # it would win over the path
    return broker._replace(path=f"/{_DATABASE}", query=query).geturl()


def _rules_url(real: Mapping[str, str], own: str) -> str:
    """Where the rules are published; at the broker, the mirror's own user may read them."""
    if elsewhere := real.get("RATELIMIT_REDIS_URL"):
        return elsewhere
    return urlsplit(own)._replace(path="/0").geturl() if real.get("MIRROR_REDIS_URL") else real["CELERY_BROKER_URL"]
