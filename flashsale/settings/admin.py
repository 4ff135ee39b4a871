"""The staff's pages: name, and a menu that shows each person what they may see."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.urls import reverse_lazy


def _may_view(app: str, model: str) -> Callable[[HttpRequest], bool]:
    def may(request: HttpRequest) -> bool:
        return any(request.user.has_perm(f"{app}.{verb}_{model}") for verb in ("view", "change"))

    return may


def _entry(title: str, icon: str, app: str, model: str) -> dict[str, Any]:
    link = reverse_lazy(f"admin:{app}_{model}_changelist")
    return {"title": title, "icon": icon, "link": link, "permission": _may_view(app, model)}


UNFOLD = {
    "SITE_TITLE": "Flash sale",
    "SITE_HEADER": "Flash sale",
    "SITE_SUBHEADER": "Staff",
    "SITE_SYMBOL": "bolt",
    "SITE_URL": "/",
    "SHOW_HISTORY": True,
    "SHOW_BACK_BUTTON": True,
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Sales",
                "items": [
                    _entry("Sales", "sell", "inventory", "sale"),
                    _entry("Items", "inventory_2", "inventory", "saleitem"),
                    _entry("Products", "category", "inventory", "product"),
                    _entry("Ledger", "receipt_long", "inventory", "stockmovement"),
                ],
            },
            {
                "title": "Orders",
                "separator": True,
                "items": [
                    _entry("Orders", "shopping_cart", "orders", "order"),
                    _entry("Payments", "payments", "payments", "payment"),
                    _entry("Refunds", "undo", "payments", "refund"),
                    _entry("Provider events", "webhook", "payments", "providerevent"),
                ],
            },
            {
                "title": "System",
                "separator": True,
                "items": [
                    _entry("Rate limits", "speed", "limits", "limitrule"),
                    _entry("Changes of limits", "history", "limits", "rulechange"),
                    _entry("Mends of gates", "healing", "tasks", "gatemend"),
                    _entry("Dead letters", "mail", "tasks", "deadletter"),
                    _entry("Users", "person", "auth", "user"),
                    _entry("Groups", "group", "auth", "group"),
                ],
            },
        ],
    },
}
