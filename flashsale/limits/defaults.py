"""The rules that a new installation starts with. They are there to be seen and changed, not to be right for every shop."""

from typing import Any

from django.conf import settings


def _bucket(name: str, applies_to: str, key: str, rate: int, burst: int, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "applies_to": applies_to,
        "key": key,
        "algorithm": "token_bucket",
        "rate": rate,
        "burst": burst,
        **more,
    }


def default_rules() -> list[dict[str, Any]]:
    """Fields of each rule."""
    produced = [
        _bucket(f"produce-{queue}", f"produce:{queue}", "all", 20_000, 4_000)
        for queue in settings.QUEUES
        if queue not in ("dispatch", "payments", "cancellations")
    ]
    consumed = [
        {
            "name": f"consume-{queue}",
            "applies_to": f"consume:{queue}",
            "key": "all",
            "algorithm": "leaky_bucket",
            "rate": 20_000,
            "max_wait_ms": 1_000,
            "on_limit": "queue",
        }
        for queue in settings.QUEUES
    ]
    return [
        _bucket("api-address", "api", "address", 3_000, 6_000),
        _bucket("api-customer", "api", "customer", 100, 300),
        {
            "name": "sign-in-address",
            "applies_to": "api:auth-token",
            "key": "address",
            "algorithm": "sliding_counter",
            "rate": 600,
            "window_ms": 60_000,
            "sub_rate": 60,
            "sub_window_ms": 1_000,
            "on_failure": "share",
        },
        _bucket("admission-item", "admission", "item", 5_000, 10_000),
        _bucket("gateway-address", "gateway", "address", 3_000, 6_000),
        *produced,
        # Their producers are the customers: what is over the limit is refused at the API.
        _bucket("produce-payments", "produce:payments", "all", 1_000, 2_000, on_failure="share"),
        _bucket("produce-cancellations", "produce:cancellations", "all", 1_000, 2_000, on_failure="share"),
        *consumed,
    ]
