"""Map Envoy's descriptors to rules, and decisions to Envoy's statuses."""

import math
from collections.abc import Sequence

from envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import RateLimitDescriptor
from envoy.service.ratelimit.v3.rls_pb2 import RateLimitRequest, RateLimitResponse
from google.protobuf.duration_pb2 import Duration

from flashsale.ratelimit.client_address import UNKNOWN, client_address
from flashsale.ratelimit.limit import SECOND_US, Reading
from flashsale.ratelimit.rule import Rule

_UNITS = RateLimitResponse.RateLimit.Unit
_UNIT_OF_SECONDS = {1: _UNITS.SECOND, 60: _UNITS.MINUTE, 3_600: _UNITS.HOUR, 86_400: _UNITS.DAY}
# First entry of a descriptor in Envoy -> key of the rules that count it.
_KEYS = {
    "remote_address": "address",
    "masked_remote_address": "address",
    "generic_key": "all",
    "customer": "customer",
    "item": "item",
}


def matching(rules: Sequence[Rule], descriptor: RateLimitDescriptor) -> list[tuple[Rule, str]]:
    """The rules that count this descriptor, each with the value it counts.

    All entries must be known. The first entry determines the key; an entry called ``rule`` selects a rule by name.
    """
    entries = [(entry.key, entry.value) for entry in descriptor.entries]
    if not entries:
        return []
    key, value = entries[0]
    names = [name for entry, name in entries[1:] if entry == "rule"]
    if len(names) < len(entries) - 1:
        return []
    kind = _KEYS.get(key)
    counted = "all" if kind == "all" else _address(value) if kind == "address" else value
    return [(rule, counted) for rule in rules if rule.key == kind and (not names or rule.name in names)]


def _address(value: str) -> str:
    """The address as the API's throttle counts it: IPv6 by its /64."""
    known = client_address(value, "", ())
    return value if known == UNKNOWN else known


def hits_of(request: RateLimitRequest, descriptor: RateLimitDescriptor) -> int:
    """The units of a descriptor: its own value, else the request's, else 1."""
    own = descriptor.hits_addend.value if descriptor.HasField("hits_addend") else 0
    return max(1, own or request.hits_addend)


def status(rule: Rule, reading: Reading) -> RateLimitResponse.DescriptorStatus:
    """The status of a rule's reading."""
    over = not reading.passed and rule.on_limit != "log"
    window_s = rule.window_ms // 1000
    per_window = RateLimitResponse.RateLimit(
        name=rule.name,
        requests_per_unit=rule.rate,
        unit=_UNIT_OF_SECONDS.get(window_s if rule.window_ms % 1000 == 0 else 0, _UNITS.UNKNOWN),
    )
    reset_us = reading.retry_after_us or reading.reset_after_us
    return RateLimitResponse.DescriptorStatus(
        code=RateLimitResponse.OVER_LIMIT if over else RateLimitResponse.OK,
        current_limit=per_window,
        limit_remaining=reading.remaining,
        duration_until_reset=Duration(seconds=math.ceil(reset_us / SECOND_US)),
    )
