"""What the README and the tutorial tell a newcomer to type works as it stands there."""

import re
import subprocess
import sys

import pytest
from django.core.management import call_command

from tests.conftest import ROOT, environment

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

_SHOP = "http://127.0.0.1:8000"


def _blocks(path, *kinds):
    text = (ROOT / path).read_text(encoding="utf-8")
    return [
        (kind, body) for kind, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if kind in kinds
    ]


def _run(script, live_url):
    return subprocess.run(
        ["sh", "-eu"],
        input=script.replace(_SHOP, live_url),
        cwd=ROOT,
        env=environment() | {"WEB_URL": live_url, "SHOP": live_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@pytest.fixture
def demo(live_url, workers, sweeper):
    call_command("seed_demo", force=True, verbosity=0)
    return live_url


def test_the_readmes_python_script_buys_a_sneaker(demo):
    [(_, script)] = _blocks("README.md", "python")
    assert script == (ROOT / "docs" / "examples" / "first_sale.py").read_text(encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-c", script.replace(_SHOP, demo)], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.stdout.split()[1:] == ["paid"], done.stderr


def test_the_readmes_curl_commands_buy_a_sneaker(demo):
    [script] = [body for _, body in _blocks("README.md", "sh") if "curl" in body]

    done = _run(script, demo)

    assert '"status":"paid"' in done.stdout, done


@pytest.mark.timed
def test_every_command_of_the_tutorial_works(live_url, workers, sweeper):
    steps = [(kind, body) for kind, body in _blocks("docs/tutorial.md", "sh", "text") if body.strip() != "make up"]

    done = _run("".join(f"set -x\n{body}" for kind, body in steps if kind == "sh"), live_url)

    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-2000:])
    shown = done.stdout
    for expected in (part.strip() for kind, body in steps if kind == "text" for part in body.split("...")):
        assert expected in shown, done.stdout
        shown = shown.partition(expected)[2]
