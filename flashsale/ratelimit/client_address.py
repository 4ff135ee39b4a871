"""The client address of a request as a rate-limit key."""

from collections.abc import Mapping
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from django.conf import settings

Address = IPv4Address | IPv6Address
UNKNOWN = "unknown"
_IPV6_CUSTOMER = 64  # providers assign a /64 to each customer


@cache
def _networks(names: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(name, strict=False) for name in names)


def _parsed(text: str) -> Address | None:
    """Parse an address, with or without the port that some proxies add."""
    bare = text.strip()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def address_of(meta: Mapping[str, Any]) -> str:
    """The client address of a request as a key.

    Args:
        meta: the WSGI environment.
    """
    return address(meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_FORWARDED_FOR", ""))


def address(remote: str, forwarded_for: str) -> str:
    """The client's address as a key; see :func:`client_address`."""
    return client_address(remote, forwarded_for, tuple(settings.TRUSTED_PROXIES))


@lru_cache(maxsize=8_192)
def client_address(remote: str, forwarded_for: str, trusted: tuple[str, ...]) -> str:
    """The client's address as a key: IPv4 as it is, IPv6 as its /64.

    Args:
        remote: the peer's address.
        forwarded_for: the ``X-Forwarded-For`` header; trusted only for hops behind our own proxies.
        trusted: the networks of our own proxies.
    """
    networks = _networks(trusted)
    hops = [remote, *reversed(forwarded_for.split(","))] if forwarded_for else [remote]
    found = _parsed(remote)
    for hop in hops:
        address = _parsed(hop)
        if address is None:
            break
        found = address
        if not any(address in network for network in networks):
            break
    if isinstance(found, IPv6Address):
        return str(ip_network((found, _IPV6_CUSTOMER), strict=False))
    return str(found) if found else UNKNOWN
