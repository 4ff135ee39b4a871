from django.urls import path

from payments.webhooks import Webhook

urlpatterns = [path("payments/webhooks/<str:provider>/", Webhook.as_view(), name="webhook")]
