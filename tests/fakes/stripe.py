"""Starts the stand-in for Stripe and talks to it as a test does."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

from flashsale.stack.servers import free_port
from tests.conftest import ROOT, eventually

SECRET = "whsec_of_the_tests_and_long_enough"


class StripeServer:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    @property
    def options(self):
        return {"API_KEY": "sk_test_of_the_tests", "WEBHOOK_SECRET": SECRET, "API_BASE": self.url}

    def tell(self, name, **wishes):
        """``POST /_fake/<name>``."""
        request = urllib.request.Request(f"{self.url}/_fake/{name}", json.dumps(wishes).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def state(self):
        return self.tell("state")

    def held(self, keys=None):
        """Minor units that it has captured and not given back, of these payments."""
        return sum(
            each["latest_charge"]["amount"] - each["latest_charge"]["amount_refunded"]
            for each in self.state()["intents"]
            if each["status"] == "succeeded" and (keys is None or each["metadata"].get("payment") in keys)
        )


@contextmanager
def running():
    """A server of its own, that ends with the block."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.fakes.stripe_server", str(port)], cwd=ROOT)
    server = StripeServer(port)

    def answers():
        try:
            return server.state()
        except (urllib.error.URLError, ConnectionError):
            return None

    try:
        eventually(answers, what="the stand-in for Stripe")
        yield server
    finally:
        process.kill()
        process.wait()
