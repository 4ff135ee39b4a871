"""Past one machine: every secret and address comes from the environment, and there is no default for one."""

import os
import sys

from flashsale.settings import env
from flashsale.settings.base import *  # noqa: F403
from flashsale.settings.payments import provider_options, serving_provider
from flashsale.settings.rest import rest_settings

DEBUG = False
SECRET_KEY = env.secret("SECRET_KEY", length=32)
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS")
JWT_SIGNING_KEY = env.secret("JWT_SIGNING_KEY", length=32, default=SECRET_KEY)
if "FLOWER_BASIC_AUTH" in os.environ or "flower" in sys.argv:  # Flower without it is open to everybody
    FLOWER_BASIC_AUTH = env.credentials("FLOWER_BASIC_AUTH", length=8)
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS")
PROVIDER_OPTIONS = provider_options(PAYMENT_PROVIDERS)  # noqa: F405
PAYMENT_PROVIDER = serving_provider(PROVIDER_OPTIONS)
# Production starts without a real provider only when it is told to.
ALLOW_TEST_PAYMENTS = env.choice("ALLOW_TEST_PAYMENTS", "0", of=("0", "1")) == "1"
if not (PROVIDER_OPTIONS[PAYMENT_PROVIDER].get("API_KEY") or ALLOW_TEST_PAYMENTS):
    raise env.MissingSetting(
        f"{PAYMENT_PROVIDERS[0].upper()}_API_KEY is not set: orders would be paid with test money. "  # noqa: F405
        "Set it, or set ALLOW_TEST_PAYMENTS=1 for a shop that sells nothing."
    )
PROVIDER_OPTIONS[PAYMENT_PROVIDER]["WEBHOOK_SECRET"] = env.secrets(f"{PAYMENT_PROVIDER.upper()}_WEBHOOK_SECRET", length=16)
globals().update(rest_settings(JWT_SIGNING_KEY))

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_CONTENT_TYPE_NOSNIFF = True
