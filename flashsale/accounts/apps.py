"""Accounts: unique names, credentials that need no query, and their revocation."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "flashsale.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect the signal handlers."""
        from flashsale.accounts import signals

        signals.connect()
