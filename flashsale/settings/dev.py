"""One machine: addresses come from the stack that ``make up`` runs, secrets are for development only."""

from flashsale.settings import env

env.load_stack_env()

from flashsale.settings.base import *  # noqa: E402, F403
from flashsale.settings.rest import rest_settings  # noqa: E402

DEBUG = False
SECRET_KEY = env.text("SECRET_KEY", "development-only-secret-key-of-more-than-fifty-characters")
PROVIDER_OPTIONS[PAYMENT_PROVIDERS[-1]].setdefault("WEBHOOK_SECRET", "development-webhook-secret")  # noqa: F405
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1],testserver")
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS")
globals().update(rest_settings(SECRET_KEY))
