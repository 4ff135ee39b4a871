"""Accounts: one name each, credentials without a query, and their revocation."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "flashsale.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect what happens at a sign-in and after a change of an account."""
        from flashsale.accounts import signals

        signals.connect()
