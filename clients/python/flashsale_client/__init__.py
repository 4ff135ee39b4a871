"""A typed client of the flashsale storefront API."""

from flashsale_client.async_client import AsyncClient
from flashsale_client.client import Client
from flashsale_client.errors import (
    BadAnswer,
    DeadlineExceeded,
    FlashsaleError,
    NoAnswer,
    OrderInDoubt,
    OrderNotFinal,
    Problem,
    StillWaiting,
)
from flashsale_client.models import Accepted, Order, OrderRequest, Place, PurchaseToken, Sale

__all__ = [
    "Accepted",
    "AsyncClient",
    "BadAnswer",
    "Client",
    "DeadlineExceeded",
    "FlashsaleError",
    "NoAnswer",
    "Order",
    "OrderInDoubt",
    "OrderNotFinal",
    "OrderRequest",
    "Place",
    "Problem",
    "PurchaseToken",
    "Sale",
    "StillWaiting",
]
