from django.urls import path

from orders import api

urlpatterns = [
    path("sales/<str:slug>/me/", api.SaleMe.as_view(), name="sale-me"),
    path("orders/", api.Orders.as_view(), name="orders"),
    path("orders/<uuid:order_id>/", api.OrderDetail.as_view(), name="order"),
    path("orders/<uuid:order_id>/pay/", api.Pay.as_view(), name="order-pay"),
    path("orders/<uuid:order_id>/payment-action/", api.PaymentAction.as_view(), name="order-payment-action"),
    path("orders/<uuid:order_id>/cancel/", api.Cancel.as_view(), name="order-cancel"),
]
