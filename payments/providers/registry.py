"""Providers by name: ``payments/providers/<name>.py`` has a class ``Service``, which gets the ``<NAME>_*`` settings."""

from collections.abc import Mapping
from functools import lru_cache

from django.conf import settings
from django.utils.module_loading import import_string

from flashsale.core.errors import NotFound
from payments.providers.base import Provider


class NoSuchProvider(NotFound):
    """There is no such provider."""


def provider(name: str) -> Provider:
    """
    Raises:
        NoSuchProvider: the setting ``PAYMENT_PROVIDERS`` does not list it.
    """
    if name not in settings.PAYMENT_PROVIDERS:
        raise NoSuchProvider
    options: Mapping[str, str] = settings.PROVIDER_OPTIONS.get(name, {})
    return _provider(name, tuple(sorted(options.items())))


@lru_cache(maxsize=16)
def _provider(name: str, options: tuple[tuple[str, str], ...]) -> Provider:
    service: Provider = import_string(f"payments.providers.{name}.Service")(dict(options))
    return service
