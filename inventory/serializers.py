"""The shapes of the sale API."""

from rest_framework import serializers


class ItemSerializer(serializers.Serializer[object]):
    sku = serializers.CharField()
    name = serializers.CharField()
    price = serializers.CharField()
    currency = serializers.CharField()
    list_price = serializers.CharField(allow_null=True)
    per_customer = serializers.IntegerField()
    remaining = serializers.IntegerField()
    sold_out = serializers.BooleanField()


class SaleSerializer(serializers.Serializer[object]):
    slug = serializers.CharField()
    name = serializers.CharField()
    state = serializers.ChoiceField(["scheduled", "live", "paused", "ended"])
    opens_at = serializers.DateTimeField()
    closes_at = serializers.DateTimeField()
    server_time = serializers.DateTimeField()
    items = ItemSerializer(many=True)


class PurchaseTokenSerializer(serializers.Serializer[object]):
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()
