"""The share of customers that the canary serves. The setting is stored in the gateway's routes."""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

_MAIN_AFTER_TWO_ATTEMPTS = {
    "name": "envoy.retry_priorities.previous_priorities",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        "update_frequency": 2,
    },
}


@dataclass(frozen=True, slots=True)
class Setting:
    """The canary serves ``percent`` of the customers. 0 is off. A higher percentage includes the customers of a lower one."""

    percent: int = 0

    def __str__(self) -> str:
        return f"split {self.percent}" if self.percent else "off"

    @classmethod
    def parse(cls, text: str) -> "Setting":
        """Parse the setting in a version of the routes, as ``str`` writes it. The former mode ``mirror`` reads as off."""
        mode, _, percent = text.partition(";")[0].partition(" ")
        return cls(int(percent)) if mode == "split" else cls()


def redirected(routes: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """The routes, with the routes of the canary's customers first."""
    found = deepcopy(routes)
    if not setting.percent:
        return found
    for host in found["virtual_hosts"]:
        names = [route.get("name", "") for route in host["routes"]]
        everybody = host["routes"][names.index("customers")]
        first = next(position for position, name in enumerate(names) if name.startswith("customers"))
        host["routes"].insert(first, _route_of_canary(everybody, setting, host["retry_policy"]))
    return found


def _route_of_canary(route: dict[str, Any], setting: Setting, retry_policy: dict[str, Any]) -> dict[str, Any]:
    chosen = deepcopy(route)
    chosen["name"] = "canary"
    chosen["match"]["headers"] = [{"name": "x-canary-bucket", "range_match": {"start": 0, "end": setting.percent}}]
    chosen["route"]["cluster"] = "canary"
    chosen["route"]["retry_policy"] = retry_policy | {"retry_priority": _MAIN_AFTER_TWO_ATTEMPTS}
    return chosen
