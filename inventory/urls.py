from django.urls import path

from inventory import api

urlpatterns = [
    path("sales/", api.Sales.as_view(), name="sales"),
    path("sales/<str:slug>/", api.SaleDetail.as_view(), name="sale"),
    path("sales/<str:slug>/items/<str:sku>/purchase-tokens/", api.PurchaseTokens.as_view(), name="purchase-tokens"),
    path("sales/<str:slug>/items/<str:sku>/waiting-room/", api.Line.as_view(), name="line"),
    path("waiting-room/<str:ticket>/", api.WaitingRoom.as_view(), name="waiting-room"),
]
