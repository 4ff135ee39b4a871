"""Rate-limit rules in the database."""

from django.apps import AppConfig


class LimitsConfig(AppConfig):
    name = "flashsale.ratelimit.rules"
    label = "limits"
    verbose_name = "rate limits"
    default_auto_field = "django.db.models.BigAutoField"
