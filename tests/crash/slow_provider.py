"""Makes the sandbox of the process that imports it need 200 ms for a payment: ``celery ... -I tests.crash.slow_provider``."""

import time

from payments.providers.sandbox import Sandbox

_charge = Sandbox.charge


def _slowly(self, requests, **more):
    time.sleep(0.2 * len(requests))
    return _charge(self, requests, **more)


setattr(Sandbox, "charge", _slowly)  # noqa: B010
