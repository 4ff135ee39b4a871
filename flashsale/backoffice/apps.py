from django.apps import AppConfig
from django.contrib.auth.signals import user_login_failed

from flashsale.backoffice.failed_sign_ins import note


class BackofficeConfig(AppConfig):
    name = "flashsale.backoffice"

    def ready(self) -> None:
        user_login_failed.connect(note, dispatch_uid="failed sign-ins are logged")
