"""The tests: like development, with cheap passwords and no logs."""

from flashsale.settings.dev import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
