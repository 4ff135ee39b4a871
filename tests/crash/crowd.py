"""Customers over real HTTP: each gets a purchase token and orders; what each was told is kept."""

import http.client
import json
import threading
import time
from collections import Counter
from urllib.parse import urlsplit
from uuid import UUID

from rest_framework_simplejwt.tokens import AccessToken

_JSON = {"Content-Type": "application/json"}


def bearer(customer):
    token = AccessToken()
    token["user_id"] = str(customer)
    return {"Authorization": f"Bearer {token}"}


def call(url, method, path, body=None, customer=None):
    """Status, body and headers.

    Raises:
        OSError, http.client.HTTPException: there was no whole answer.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=15)
    try:
        data = None if body is None else json.dumps(body)
        headers = _JSON | (bearer(customer) if customer else {})
        try:
            connection.request(method, path, data, headers)
        except (BrokenPipeError, ConnectionResetError):  # not received in whole: sent again, as the gateway does
            connection.close()
            connection.request(method, path, data, headers)
        answer = connection.getresponse()
        raw = answer.read()
        return answer.status, json.loads(raw) if raw else None, answer.headers
    finally:
        connection.close()


def order_body(slug, token, seq, method="pm_ok"):
    body = {"token": token, "sku": "thing", "quantity": 1, "source": slug[:32], "seq": str(seq)}
    return body | ({"payment_method": method} if method else {})


class Crowd:
    """``with Crowd(url, sale) as crowd``: orders one after the other in each of ``threads``, until the block ends."""

    def __init__(self, url, sale, *, threads=4):
        self.acknowledged: list[UUID] = []
        self.statuses: Counter = Counter()
        self.dropped: list[str] = []
        self._url, self._sale = url, sale
        self._customers = iter(list(sale.customers))
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self):
        while not self._stop.is_set():
            with self._lock:
                customer = next(self._customers, None)
            if customer is None:
                return
            try:
                self._buy(customer)
            except (OSError, http.client.HTTPException) as error:
                self.dropped.append(repr(error))
            time.sleep(0.03)

    def _buy(self, customer):
        path = f"/api/v1/sales/{self._sale.slug}/items/thing/purchase-tokens/"
        status, body, _ = call(self._url, "POST", path, {}, customer)
        self.statuses["token", status] += 1
        if status == 201:
            body = order_body(self._sale.slug, body["token"], customer)
            status, body, _ = call(self._url, "POST", "/api/v1/orders/", body, customer)
            self.statuses["order", status] += 1
            if status == 202:
                self.acknowledged.append(UUID(body["id"]))

    def faults(self):
        """Answers that say that something of ours is broken, and answers that never came."""
        return {key: count for key, count in self.statuses.items() if key[1] >= 500}, self.dropped
