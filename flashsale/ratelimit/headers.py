"""HTTP headers of a decision: draft-ietf-httpapi-ratelimit-headers, and Retry-After of RFC 9110."""

import math

from flashsale.ratelimit.limit import SECOND_US
from flashsale.ratelimit.limiter import Answer, Decision


def _policy(answer: Answer) -> str:
    limit = answer.rule.limit
    return f'"{answer.rule.name}";q={limit.limit};w={max(1, math.ceil(limit.window_us / SECOND_US))}'


def retry_after(seconds: float) -> str:
    """Whole seconds, at least one."""
    return str(max(1, math.ceil(seconds)))


def headers(decision: Decision) -> dict[str, str]:
    """``RateLimit`` for the binding rule and ``RateLimit-Policy`` for every rule. Empty without rules."""
    if decision.binding is None:
        return {}
    reading = decision.binding.reading
    reset = math.ceil((reading.retry_after_us or reading.reset_after_us) / SECOND_US)
    policies = [_policy(answer) for answer in decision.answers if answer.rule.on_limit != "log"]
    return {
        "RateLimit": f'"{decision.binding.rule.name}";r={reading.remaining};t={reset}',
        "RateLimit-Policy": ", ".join(policies),
    }
