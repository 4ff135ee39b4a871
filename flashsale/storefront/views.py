"""Shells of pages: what is in them comes from the API, fetched by the scripts in ``static/storefront``."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.generic import TemplateView

# Scripts and styles are files of ours, so text that slipped into a page as HTML still could not run.
_CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@method_decorator([never_cache, ensure_csrf_cookie], name="dispatch")
class _Page(View):
    """Carries the CSRF cookie that the scripts send back, and the header that forbids inline code."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        response["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
        return response


class Login(_Page, LoginView):
    template_name = "storefront/login.html"


class Sales(_Page, TemplateView):
    template_name = "storefront/sales.html"


class SalePage(_Page, TemplateView):
    template_name = "storefront/sale.html"


class Orders(LoginRequiredMixin, _Page, TemplateView):
    template_name = "storefront/orders.html"


class OrderPage(LoginRequiredMixin, _Page, TemplateView):
    template_name = "storefront/order.html"
