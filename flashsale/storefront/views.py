"""Empty pages. The scripts in ``static/storefront`` fill them with data from the API."""

from typing import Any

from django.conf import settings
from django.contrib.auth.views import LoginView, redirect_to_login
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect, ensure_csrf_cookie
from django.views.generic import TemplateView
from django.views.generic.base import ContextMixin

from flashsale.accounts.visitor import visitor_of
from payments.services import shown_methods


@method_decorator([never_cache, ensure_csrf_cookie], name="dispatch")
class _Page(ContextMixin, View):
    """A page that sets the CSRF cookie for the scripts. Uses no database."""

    for_customers = False

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if self.for_customers and visitor_of(request) is None:
            return redirect_to_login(request.get_full_path())
        return super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**kwargs) | {"visitor": visitor_of(self.request), "methods": shown_methods()}


class Login(_Page, LoginView):
    template_name = "storefront/login.html"


@method_decorator([never_cache, csrf_protect], name="dispatch")
class Logout(View):
    """End the session, even if PostgreSQL does not answer."""

    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        request.session.flush()
        return HttpResponseRedirect(settings.LOGOUT_REDIRECT_URL)


class Sales(_Page, TemplateView):
    template_name = "storefront/sales.html"


class SalePage(_Page, TemplateView):
    template_name = "storefront/sale.html"


class Orders(_Page, TemplateView):
    template_name = "storefront/orders.html"
    for_customers = True


class OrderPage(_Page, TemplateView):
    template_name = "storefront/order.html"
    for_customers = True
