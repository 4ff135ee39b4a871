"""docker-compose, the image and what they are given: nobody has more than their work needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis
import yaml
from honcho.environ import parse_procfile

from flashsale.stack.servers import _valkey_binary, free_port
from tests.conftest import ROOT, eventually

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
_SERVERS = {"postgres", "gate", "broker"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name):
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] in ("10001", "valkey", "postgres")


@pytest.mark.parametrize("name", SERVICES)
def test_no_environment_holds_a_secret(name):
    values = SERVICES[name].get("environment") or {}

    assert [
        key for key, value in values.items() if "PASSWORD" in str(value).upper() and not str(value).startswith("/run/")
    ] == []
    assert not any("${" in str(value) for key, value in values.items() if key not in _PLAIN)


_PLAIN = {"ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "GATEWAY_TRUSTED_HOPS"}


def test_each_service_is_given_the_secrets_that_it_reads():
    for name, service in SERVICES.items():
        text = str(service) + ("postgres_password" if name == "postgres" else "")
        given = set(service.get("secrets", []))
        if name in _SERVERS:
            continue
        read = {secret for secret in COMPOSE["secrets"] if f"/run/secrets/{secret}" in text}
        assert given == read, name


def test_clients_reach_the_gateway_alone_and_the_gateway_no_server():
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}

    assert {name for name, of in networks.items() if "public" in of} == {"gateway", "flower"}
    assert "back" not in networks["gateway"]
    assert all(networks[name] == {"back"} for name in _SERVERS)
    assert all(COMPOSE["networks"][name]["internal"] for name in ("front", "back"))
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_it_has_every_process_of_the_procfile():
    assert set(parse_procfile((ROOT / "Procfile").read_text(encoding="utf-8")).processes) <= set(SERVICES)


def test_an_image_holds_what_is_named_and_no_secret():
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    assert lines[0] == "*"
    assert {line for line in lines if line.startswith("!")} == {
        "!requirements.txt",
        "!requirements-gateway.txt",
        "!manage.py",
        "!deploy/envoy/*.lua",
        "!deploy/envoy/*.yaml",
        *(f"!{folder}" for folder in ("flashsale", "inventory", "orders", "payments", "tasks")),
    }
    assert "**/.env*" in lines[-3:]


def test_secrets_are_made_once_and_nobody_else_enters_their_folder(tmp_path):
    folder = tmp_path / "secrets"
    for _ in range(2):
        subprocess.run(["sh", ROOT / "deploy/make-secrets.sh", folder], check=True)
        made = {path.name: path.read_text() for path in folder.iterdir()}

    assert folder.stat().st_mode & 0o777 == 0o700
    assert set(made) == {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    assert made["database_url"] == f"postgresql://flashsale:{made['postgres_password']}@postgres:5432/flashsale"
    assert {name for name, value in made.items() if not value} == {"stripe_api_key", "stripe_webhook_secret"}  # of the shop
    made_up = [value for value in made.values() if value]
    assert len(set(made_up)) == len(made_up)
    subprocess.run(["sh", ROOT / "deploy/make-secrets.sh", folder], check=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


@pytest.mark.slow
def test_the_valkey_of_compose_knows_its_users_alone(tmp_path):
    subprocess.run(["sh", ROOT / "deploy/make-secrets.sh", tmp_path / "secrets"], check=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "valkey-server").symlink_to(_valkey_binary())
    port = free_port()
    places = {"SECRETS": "secrets", "RULES": str(ROOT / "deploy/valkey"), "USERS": "users.acl"}
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    command = ["sh", ROOT / "deploy/valkey/start.sh", "broker", "everysec", "--port", str(port), "--bind", "127.0.0.1"]
    server = subprocess.Popen(command, cwd=tmp_path, env=os.environ | places | {"PATH": path}, stdout=subprocess.DEVNULL)
    try:
        password = (tmp_path / "secrets" / "broker_password").read_text()
        app = redis.Redis(port=port, username="flashsale", password=password)

        def answers():
            try:
                return app.ping()
            except redis.ConnectionError:
                return False

        eventually(answers, within=10)
        with pytest.raises(redis.exceptions.NoPermissionError):
            app.flushall()
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis(port=port).ping()
        assert (tmp_path / "users.acl").stat().st_mode & 0o777 == 0o600
    finally:
        server.terminate()
        server.wait()


def _secret(**environment):
    code = "from django.conf import settings; print(settings.PROVIDER_OPTIONS['sandbox']['WEBHOOK_SECRET'])"
    own = {key: value for key, value in os.environ.items() if not key.startswith("SANDBOX_WEBHOOK_SECRET")}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=own | environment, capture_output=True, text=True, check=False)


def test_a_setting_may_stand_in_a_file(tmp_path):
    (tmp_path / "password").write_text("from a file\n")
    named = {"SANDBOX_WEBHOOK_SECRET_FILE": str(tmp_path / "password"), "DJANGO_SETTINGS_MODULE": "flashsale.settings.test"}

    assert _secret(**named).stdout == "from a file\n"
    assert _secret(**named, SANDBOX_WEBHOOK_SECRET="of the environment").stdout == "of the environment\n"
    refused = _secret(**named | {"SANDBOX_WEBHOOK_SECRET_FILE": str(tmp_path / "none")})
    assert refused.returncode == 1
    assert "SANDBOX_WEBHOOK_SECRET_FILE" in refused.stderr.splitlines()[-1]
