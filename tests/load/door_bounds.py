"""What the parts of the door can do at best: an empty WSGI function, an empty Django view, a gateway that does nothing else."""

from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path


def empty(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The cheapest WSGI application there is."""
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
    return [b"ok"]


def _view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"ok", content_type="text/plain")


urlpatterns = [path("", _view)]


def null_view() -> WSGIHandler:
    """Django with one empty view and no middleware, in a process of its own."""
    import django

    settings.configure(ROOT_URLCONF=__name__, MIDDLEWARE=[], ALLOWED_HOSTS=["*"], SECRET_KEY="none", DATABASES={})
    django.setup()
    return WSGIHandler()


def envoy(listen: int, upstream: int) -> dict[str, Any]:
    """A gateway that passes everything on, but ``/direct``, which it answers itself."""
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bound",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"path": "/direct"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}},
                        {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}},
                    ],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "upstream", "endpoints": [{"lb_endpoints": [{"endpoint": _at(upstream)}]}]},
    }
    listener = {
        "name": "bound",
        **_at(listen),
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _at(port: int) -> dict[str, Any]:
    return {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
