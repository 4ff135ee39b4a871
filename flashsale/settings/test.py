"""The tests: like development, with cheap passwords and no logs."""

from flashsale.settings import env
from flashsale.settings.dev import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CATALOG_TTL_S = env.number("CATALOG_TTL_S", CATALOG_TTL_S)  # noqa: F405
