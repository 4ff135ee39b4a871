"""A setting that the shop could not work with ends the process at its start, in one sentence that names it."""

import os
import re
import runpy
import subprocess
import sys

import pytest

from flashsale.settings import env
from flashsale.settings.env import BASE_DIR, InvalidSetting, MissingSetting

NOWHERE = {
    "DATABASE_URL": "postgresql://localhost/none",
    "REDIS_URL": "redis://localhost",
    "CELERY_BROKER_URL": "redis://localhost",
}
SECRETS = {"SECRET_KEY": "s" * 50, "SANDBOX_WEBHOOK_SECRET": "w" * 32, "ALLOW_TEST_PAYMENTS": "1"}
# Every number that a settings file reads from the environment, and whether it may be nothing.
_NUMBER = re.compile(r'env\.(?:integer|number|port)\(\s*"(\w+)"(?:[^()]*?low=([0-9._]+))?')
FOUND = [
    (path.stem, name, bool(low) and float(low) == 0)
    for path in sorted((BASE_DIR / "flashsale/settings").glob("*.py"))
    for name, low in _NUMBER.findall(path.read_text())
    if path.stem != "test"
]
EACH = [(module, name) for module, name, _ in FOUND]
MAY_BE_NOTHING = {name for _, name, may_be in FOUND if may_be}


def settings_of(module):
    return runpy.run_path(str(BASE_DIR / f"flashsale/settings/{module}.py"))


@pytest.mark.parametrize(("module", "name"), EACH)
@pytest.mark.parametrize("value", ["-1", "1e400", "nan", "inf", "many", "9" * 30, "0"])
def test_a_number_out_of_its_range_is_refused_by_name_value_and_range(monkeypatch, module, name, value):
    if value == "0" and name in MAY_BE_NOTHING:
        return
    monkeypatch.setenv(name, value)

    with pytest.raises(InvalidSetting, match=rf"^{name} must be a (whole )?number from \S+ to \S+, not '{value}'$"):
        settings_of(module)


@pytest.mark.parametrize(("module", "name"), EACH)
def test_a_number_that_is_empty_has_its_default(monkeypatch, module, name):
    monkeypatch.delenv(name, raising=False)
    default = settings_of(module)[name]
    monkeypatch.setenv(name, "")

    assert settings_of(module)[name] == default


def test_the_numbers_that_are_tried_are_found():
    assert ("celery", "BATCH_SIZE") in EACH
    assert {"REQUEST_WAIT_S", "GATEWAY_TRUSTED_HOPS", "RATELIMIT_WAITERS"} <= MAY_BE_NOTHING
    assert len(EACH) >= 21


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        ("logging", "LOG_LEVEL", "LOUD"),
        ("ratelimit", "FLEET", "spare"),
        ("ratelimit", "TRUSTED_PROXIES", "10.0.0.0/8,gateway"),
        ("redis", "REDIS_URL", "localhost:6379"),
        ("redis", "REDIS_URL", "http://localhost"),
        ("base", "DATABASE_URL", "sqlite:///x"),
        ("base", "DATABASE_URL", "postgresql://h:notaport/x"),
        ("base", "WEB_URL", "shop.example.com"),
        ("gateway", "GATEWAY_LISTEN", "0.0.0.0:0"),
        ("gateway", "GATEWAY_WEB", "web:70000"),
        ("celery", "CELERY_BROKER_URL", "redis://localhost?socket_timeout=soon"),
        ("celery", "CELERY_BROKER_URL", "localhost:6379"),
        ("celery", "CELERY_BROKER_URL", "http://localhost"),
        ("ratelimit", "RATELIMIT_REDIS_URL", "amqp://localhost"),
    ],
)
def test_what_is_none_of_the_allowed_values_is_refused_by_name(monkeypatch, module, name, value):
    monkeypatch.setenv(name, value)

    with pytest.raises(InvalidSetting, match=name):
        settings_of(module)


@pytest.fixture
def production(monkeypatch):
    for name in ("SECRET_KEY", "SANDBOX_WEBHOOK_SECRET", "JWT_SIGNING_KEY", "FLOWER_BASIC_AUTH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def test_production_starts_with_secrets_of_its_own(production):
    found = settings_of("production")

    assert found["SECRET_KEY"] == SECRETS["SECRET_KEY"]
    assert found["PROVIDER_OPTIONS"]["sandbox"]["WEBHOOK_SECRET"] == SECRETS["SANDBOX_WEBHOOK_SECRET"]
    assert found["SIMPLE_JWT"]["SIGNING_KEY"] == SECRETS["SECRET_KEY"]


@pytest.mark.parametrize("name", ["SECRET_KEY", "SANDBOX_WEBHOOK_SECRET", "JWT_SIGNING_KEY", "FLOWER_BASIC_AUTH"])
@pytest.mark.parametrize("value", ["", " ", "short", " " * 64, "me:"])
def test_production_refuses_an_empty_or_short_secret(monkeypatch, production, name, value):
    monkeypatch.setenv(name, value)

    with pytest.raises(MissingSetting, match=name) as refused:
        settings_of("production")
    assert not value.strip() or value not in str(refused.value)


@pytest.mark.parametrize("name", ["SECRET_KEY", "SANDBOX_WEBHOOK_SECRET"])
def test_production_has_no_default_for_a_secret(monkeypatch, production, name):
    monkeypatch.delenv(name)

    with pytest.raises(MissingSetting, match=name):
        settings_of("production")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "development-only-secret-key-of-more-than-fifty-characters"),
        ("SECRET_KEY", "django-insecure-" + "x" * 50),
        ("SANDBOX_WEBHOOK_SECRET", "development-webhook-secret"),
    ],
)
def test_production_refuses_what_development_uses(monkeypatch, production, name, value):
    monkeypatch.setenv(name, value)

    with pytest.raises(InvalidSetting, match=f"{name} is a development value"):
        settings_of("production")


def test_production_refuses_test_money_unless_it_is_told_to_take_it(monkeypatch, production):
    monkeypatch.delenv("ALLOW_TEST_PAYMENTS")

    with pytest.raises(MissingSetting, match="STRIPE_API_KEY is not set: orders would be paid with test money"):
        settings_of("production")


def test_an_api_key_makes_its_provider_serve(monkeypatch, production, tmp_path):
    monkeypatch.delenv("ALLOW_TEST_PAYMENTS")
    monkeypatch.delenv("SANDBOX_WEBHOOK_SECRET")
    (tmp_path / "key").write_text("sk_live_of_a_file\n")
    monkeypatch.setenv("STRIPE_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", f"whsec_{'n' * 20},whsec_{'o' * 20}")

    found = settings_of("production")

    assert found["PAYMENT_PROVIDER"] == "stripe"
    assert found["PROVIDER_OPTIONS"]["stripe"]["API_KEY"] == "sk_live_of_a_file"
    assert found["PROVIDER_OPTIONS"]["stripe"]["WEBHOOK_SECRET"].count(",") == 1


@pytest.mark.parametrize("value", ["", "short", f"whsec_{'n' * 20},", f"whsec_{'n' * 20},short"])
def test_a_provider_without_a_good_webhook_secret_does_not_serve_in_production(monkeypatch, production, value):
    monkeypatch.setenv("STRIPE_API_KEY", "sk_live_x")
    monkeypatch.setenv("STRIPE_WEBHOOK_SECRET", value)

    with pytest.raises(MissingSetting, match="STRIPE_WEBHOOK_SECRET"):
        settings_of("production")


def test_whatever_stands_in_the_databases_url_arrives(monkeypatch):
    query = "sslmode=verify-full&options=-c%20search_path%3Dshop&application_name=shop&connect_timeout=7"
    monkeypatch.setenv("DATABASE_URL", f"postgresql://u%40x:p%2F@db:6432/shop?{query}")

    found = settings_of("base")["DATABASES"]["default"]

    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"], found["NAME"]) == ("u@x", "p/", "db", 6432, "shop")
    options = found["OPTIONS"]
    assert options.pop("options").split() == [
        *("-c", "statement_timeout=30s", "-c", "lock_timeout=5s", "-c", "idle_in_transaction_session_timeout=60s"),
        *("-c", "search_path=shop"),
    ]
    assert options == {"sslmode": "verify-full", "application_name": "shop", "connect_timeout": 7}


def test_whatever_stands_in_the_brokers_url_arrives(monkeypatch):
    monkeypatch.setenv(
        "CELERY_BROKER_URL", "rediss://u:p@broker:6380?db=3&client_name=shop&socket_timeout=4&ssl_cert_reqs=none"
    )

    found = settings_of("celery")

    assert found["CELERY_BROKER_URL"] == "rediss://u:p@broker:6380/3?ssl_cert_reqs=none"
    options = found["CELERY_BROKER_TRANSPORT_OPTIONS"]
    assert (options["client_name"], options["socket_timeout"], options["visibility_timeout"]) == ("shop", 4.0, 900)


@pytest.mark.parametrize(
    ("database", "ours"),
    [
        ("postgresql://shop:x@127.0.0.1:5433/test_shop?sslmode=disable", True),
        ("postgresql://shop:x@127.0.0.1:5432/shop", False),
        ("postgresql://shop:x@db.example.com:5433/shop", False),
        ("", False),
    ],
)
def test_only_the_server_that_the_stack_started_is_ours(database, ours):
    assert (
        env.is_embedded({"EMBEDDED_DATABASE_URL": "postgresql://shop:y@127.0.0.1:5433/shop", "DATABASE_URL": database}) is ours
    )
    assert not env.is_embedded({"DATABASE_URL": database})


def run(*command, tmp_path, **variables):
    """A command in a place where no stack runs, unless ``tmp_path`` has its stack.env."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=BASE_DIR,
        env=kept | {"FLASHSALE_VAR": str(tmp_path)} | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.slow
def test_nothing_runs_with_development_settings_unless_they_are_named(tmp_path):
    shown = "from django.conf import settings; print(settings.SETTINGS_MODULE)"
    for entry in ("flashsale.celery", "flashsale.wsgi", "flashsale.asgi"):
        done = run("-c", f"import {entry}; {shown}", tmp_path=tmp_path, **NOWHERE)
        assert "SECRET_KEY is not set" in done.stderr, entry
    done = run("manage.py", "check", tmp_path=tmp_path, **NOWHERE)
    assert (done.returncode, done.stderr[:36]) == (1, "flashsale: SECRET_KEY is not set. `m")


@pytest.mark.slow
def test_a_command_finds_the_settings_of_a_running_stack_by_itself(tmp_path):
    values = NOWHERE | {"DJANGO_SETTINGS_MODULE": "flashsale.settings.dev", "SECRET_KEY": "of-the-stack"}
    (tmp_path / "stack.env").write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    shown = "from django.conf import settings as s; print(s.SETTINGS_MODULE, s.SECRET_KEY)"

    found = run("manage.py", "shell", "--no-imports", "-c", shown, tmp_path=tmp_path)
    named = run("manage.py", "check", tmp_path=tmp_path, DJANGO_SETTINGS_MODULE="flashsale.settings.production", **NOWHERE)

    assert found.stdout.split() == ["flashsale.settings.dev", "of-the-stack"]
    assert named.stderr.startswith("flashsale: SECRET_KEY is not set")
