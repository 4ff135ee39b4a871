"""The pages of the shop."""

from django.urls import path

from flashsale.storefront import views

app_name = "storefront"
urlpatterns = [
    path("", views.Sales.as_view(), name="sales"),
    path("login/", views.Login.as_view(), name="login"),
    path("logout/", views.Logout.as_view(), name="logout"),
    path("sales/<str:slug>/", views.SalePage.as_view(), name="sale"),
    path("orders/", views.Orders.as_view(), name="orders"),
    path("orders/<uuid:order_id>/", views.OrderPage.as_view(), name="order"),
]
