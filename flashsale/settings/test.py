"""The tests: like development, with cheap passwords and no logs."""

from flashsale.settings import env
from flashsale.settings.dev import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CATALOG_TTL_S = env.number("CATALOG_TTL_S", CATALOG_TTL_S, low=0.01, high=60)  # noqa: F405
