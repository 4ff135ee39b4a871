"""Past one machine: every secret and address comes from the environment, and there is no default for one."""

from flashsale.settings import env
from flashsale.settings.base import *  # noqa: F403
from flashsale.settings.rest import rest_settings

DEBUG = False
SECRET_KEY = env.text("SECRET_KEY")
ALLOWED_HOSTS = env.names("ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = env.names("CSRF_TRUSTED_ORIGINS")
SANDBOX_WEBHOOK_SECRET = env.text("SANDBOX_WEBHOOK_SECRET")
globals().update(rest_settings(env.text("JWT_SIGNING_KEY", SECRET_KEY)))

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_CONTENT_TYPE_NOSNIFF = True
