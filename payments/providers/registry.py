"""Providers by name."""

from functools import cache

from payments.providers.base import Provider
from payments.providers.sandbox import Sandbox


@cache
def provider(name: str) -> Provider:
    """
    Raises:
        KeyError: no provider of that name.
    """
    return {"sandbox": Sandbox}[name]()
