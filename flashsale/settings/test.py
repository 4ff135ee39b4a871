"""The tests: like development, with cheap passwords and no logs."""

from flashsale.settings import env
from flashsale.settings.dev import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
READY_SHARED_S = env.number("READY_SHARED_S", 0.0, low=0, high=60)
CATALOG_TTL_S = env.number("CATALOG_TTL_S", CATALOG_TTL_S, low=0.01, high=60)  # noqa: F405
