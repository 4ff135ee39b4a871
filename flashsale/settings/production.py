"""Past one machine: every secret and address comes from the environment, and there is no default for one."""

import os
import sys

from flashsale.settings import env
from flashsale.settings.base import *  # noqa: F403
from flashsale.settings.rest import rest_settings

DEBUG = False
SECRET_KEY = env.secret("SECRET_KEY", length=32)
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS")
JWT_SIGNING_KEY = env.secret("JWT_SIGNING_KEY", length=32, default=SECRET_KEY)
if "FLOWER_BASIC_AUTH" in os.environ or "flower" in sys.argv:  # Flower without it is open to everybody
    FLOWER_BASIC_AUTH = env.credentials("FLOWER_BASIC_AUTH", length=8)
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS")
SANDBOX_WEBHOOK_SECRET = env.secret("SANDBOX_WEBHOOK_SECRET", length=16)
globals().update(rest_settings(JWT_SIGNING_KEY))

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_CONTENT_TYPE_NOSNIFF = True
