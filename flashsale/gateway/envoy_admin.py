"""Envoy's admin interface. It is a Unix socket that only its user may open, so that no web page can reach it."""

import http.client
import json
import socket
from typing import Any

_TIMEOUT_S = 1.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def ask(path: str, query: str, *, method: str = "GET") -> bytes:
    """Send a query and return the body of the answer.

    Args:
        path: path of the socket.
        query: for example ``/stats?filter=^http.public``. Queries with effects need ``POST``.

    Raises:
        OSError: nothing listens there, or the answer was an error or missing.
    """
    connection = _UnixConnection(path)
    try:
        connection.request(method, query)
        answer = connection.getresponse()
        content = answer.read()
    except http.client.HTTPException as error:
        raise OSError(f"{path} gave no answer: {error!r}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise OSError(f"{path} answered {answer.status} to {query}")
    return content


def ask_json(path: str, query: str) -> Any:
    """Send a query and parse the JSON of the answer.

    Raises:
        OSError: as for the body.
        ValueError: the answer was not JSON.
    """
    return json.loads(ask(path, query))
