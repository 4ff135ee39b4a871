"""Response serializers of the sale API."""

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


class PlaceSerializer(serializers.Serializer[object]):
    ticket = serializers.CharField()
    number = serializers.IntegerField(help_text="Of the place, as the waiting room's numbers count them.")
    position = serializers.IntegerField()
    ahead = serializers.IntegerField()
    remaining = serializers.IntegerField()
    estimated_wait = serializers.IntegerField(
        help_text="Estimated seconds until the call-up, from the pace of the waiting room."
    )
    retry_after = serializers.IntegerField(help_text="Seconds to wait before the next poll.")


class NumbersSerializer(serializers.Serializer[object]):
    """Whose number is at most ``now_serving`` asks with the ticket; up to ``check_in``, every ``check_in_every`` s."""

    now_serving = serializers.IntegerField()
    check_in = serializers.IntegerField()
    check_in_every = serializers.IntegerField(help_text="Seconds.")
    waiting = serializers.IntegerField()
    remaining = serializers.IntegerField()
    rate = serializers.FloatField(help_text="Turns per second.")
    retry_after = serializers.IntegerField(help_text="Seconds to wait before the next poll.")


class TurnSerializer(serializers.Serializer[object]):
    """A position in the waiting room, or the purchase token."""

    ticket = serializers.CharField(required=False)
    number = serializers.IntegerField(required=False)
    position = serializers.IntegerField(required=False)
    ahead = serializers.IntegerField(required=False)
    remaining = serializers.IntegerField(required=False)
    estimated_wait = serializers.IntegerField(required=False)
    retry_after = serializers.IntegerField(required=False)
    token = serializers.CharField(required=False)
    expires_at = serializers.DateTimeField(required=False)
