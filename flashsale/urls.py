"""Every address of the system."""

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularSwaggerSplitView

from flashsale.web import health
from flashsale.web.schema import Schema
from flashsale.web.shared_answer import shared_for
from flashsale.web.sign_in import Refresh, Revoke, SignIn

handler400 = "flashsale.web.problem.bad_request"
handler404 = "flashsale.web.problem.not_found"
handler500 = "flashsale.web.problem.server_error"

api: list[URLPattern | URLResolver] = [
    path("auth/token/", SignIn.as_view(), name="auth-token"),
    path("auth/token/refresh/", Refresh.as_view(), name="auth-token-refresh"),
    path("auth/token/revoke/", Revoke.as_view(), name="auth-token-revoke"),
    path("", include("inventory.urls")),
    path("", include("orders.urls")),
    path("", include("payments.urls")),
]
urlpatterns = [
    path("api/v1/", include(api)),
    path("api/schema/", Schema.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(permission_classes=[], authentication_classes=[]), name="docs"),
    path("admin/", admin.site.urls),
    path("health/live", health.live),
    path("health/ready", shared_for(lambda: settings.READY_SHARED_S, health.ready)),
    path("metrics", health.metrics),
    path("", include("flashsale.storefront.urls")),
]
