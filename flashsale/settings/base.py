"""What every deployment shares."""

import os

from flashsale.settings import env
from flashsale.settings.admin import *  # noqa: F403
from flashsale.settings.celery import *  # noqa: F403
from flashsale.settings.cors import *  # noqa: F403
from flashsale.settings.gateway import *  # noqa: F403
from flashsale.settings.logging import *  # noqa: F403
from flashsale.settings.payments import *  # noqa: F403
from flashsale.settings.ratelimit import *  # noqa: F403
from flashsale.settings.redis import *  # noqa: F403

BASE_DIR = env.BASE_DIR
WEB_URL = env.url("WEB_URL", "http://127.0.0.1:8000", schemes=("http", "https"))

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "flashsale.accounts",
    "flashsale.storefront",
    "flashsale.backoffice",
    "flashsale.ratelimit.rules",
    "inventory",
    "orders",
    "payments",
    "tasks",
]

MIDDLEWARE = [
    "flashsale.web.middleware.fleet.FleetHeader",
    "flashsale.web.middleware.answer_headers.AnswerHeaders",
    "corsheaders.middleware.CorsMiddleware",
    "flashsale.web.middleware.queue_wait.QueueWait",
    "flashsale.web.middleware.database_timeout.ShortPatience",
    "flashsale.web.middleware.body_limit.BodyLimit",
    "flashsale.web.middleware.limit_headers.LimitHeaders",
    "flashsale.web.middleware.sign_in_limit.SignInLimit",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "flashsale.web.middleware.trailing_slash.TrailingSlash",
    "flashsale.backoffice.query_guard.QueryGuard",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

ROOT_URLCONF = "flashsale.urls"
# Whether the hot calls are answered before Django (flashsale.web.express); the same answers either way.
EXPRESS_LANE = env.choice("EXPRESS_LANE", "1", of=("0", "1")) == "1"
# Threads of a customers' web process for what the express lane leaves to Django.
WEB_THREADS = env.integer("WEB_THREADS", 4, low=1, high=64)
WSGI_APPLICATION = "flashsale.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False
STATIC_URL = "/static/"
STATIC_ROOT = env.text("STATIC_ROOT", str(env.VAR_DIR / "static"))
LOGIN_URL = "/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"

# The cookie itself says who somebody is, signed: no request of a customer waits for PostgreSQL to look that up.
SESSION_ENGINE = "flashsale.accounts.sessions"
SESSION_COOKIE_AGE = 7 * 24 * 3600  # seconds; revocations are kept as long
# A password check takes about half a second of a core. Of a process's threads, so many at most are busy with sign-ins:
# those that check, and those that wait for their turn; whoever comes beyond is refused at once.
AUTHENTICATION_BACKENDS = ["flashsale.accounts.backend.OneAccountPerName"]
SIGN_IN_HASHERS = env.integer("SIGN_IN_HASHERS", 1, low=1, high=64)
SIGN_IN_WAITERS = env.integer("SIGN_IN_WAITERS", 1, low=0, high=1000)
SIGN_IN_WAIT_S = 0.5
# Messages have a cookie of their own: in the session's, a hundred of them would exceed what browsers keep.
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"

# PostgreSQL reply timeout, in seconds; see flashsale.core.database.patience. A task waits longer than
# the server lets a statement run, a customer as long as a person likes to wait.
DATABASE_CONNECT_S = 3
DATABASE_PATIENCE_S = env.number("DATABASE_PATIENCE_S", 35.0, low=0.1, high=600)
DATABASE_REQUEST_PATIENCE_S = env.number("DATABASE_REQUEST_PATIENCE_S", 3.0, low=0.1, high=60)
DATABASES = {
    "default": {
        # A statement or lock that waits longer than this is a fault; the task is retried, the request answered 503.
        **env.database(
            "DATABASE_URL", options="-c statement_timeout=30s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s"
        ),
        "ENGINE": "flashsale.core.database",
    }
}
# Demo data, with its weak passwords, is for the embedded server alone.
DATABASE_IS_EMBEDDED = env.is_embedded(os.environ)
ALLOW_DEMO_DATA = env.choice("ALLOW_DEMO_DATA", "0", of=("0", "1")) == "1"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

# A body over this gets a 413 from the API.
MAX_BODY_BYTES = 16 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000

# How long a request may have waited for a thread, in seconds since the gateway had it, before it is refused instead of served:
# less than clients wait, more than a crowd that comes at once needs; 0: never.
REQUEST_WAIT_S = env.number("REQUEST_WAIT_S", 5.0, low=0, high=300)

# How long an answer of /health/ready holds for whoever asks, in seconds.
READY_SHARED_S = 1.0

# How long the catalog of sales and items may be served from a process's memory.
CATALOG_TTL_S = 1.0
