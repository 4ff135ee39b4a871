"""The shapes of the order API."""

from rest_framework import serializers

from flashsale.edge.strict import StrictSerializer, Text, Whole
from payments.services import known_method

_MOST = 1_000_000


def _method(value: str) -> str:
    if not known_method(value):
        raise serializers.ValidationError("Unknown payment method.")
    return value


class OrderRequestSerializer(StrictSerializer):
    """The body of ``POST orders/``."""

    token = Text(r"^[\x21-\x7e]{1,128}$")
    sku = Text(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
    quantity = Whole(min_value=1, max_value=_MOST)
    source = Text(r"^[a-z0-9-]{1,32}\Z")  # type: ignore[assignment]
    seq = Text(r"^[A-Za-z0-9._:-]{1,64}\Z")
    payment_method = Text(r"^[a-z_]{1,32}\Z", required=False, validators=[_method])


class PayRequestSerializer(StrictSerializer):
    """The body of ``POST orders/{id}/pay/``."""

    payment_method = Text(r"^[a-z_]{1,32}\Z")


class EmptySerializer(StrictSerializer):
    """A body without fields."""


class AcceptedSerializer(serializers.Serializer[object]):
    """The answer to ``POST orders/``."""

    id = serializers.UUIDField()
    status = serializers.CharField()
    status_url = serializers.CharField()


class RefundViewSerializer(serializers.Serializer[object]):
    status = serializers.CharField()
    amount = serializers.CharField()
    reason = serializers.CharField()


class PaymentViewSerializer(serializers.Serializer[object]):
    id = serializers.UUIDField()
    status = serializers.CharField()
    method = serializers.CharField()
    amount = serializers.CharField()
    currency = serializers.CharField()
    failure_code = serializers.CharField()
    refund = RefundViewSerializer(allow_null=True)


class EventSerializer(serializers.Serializer[object]):
    status = serializers.CharField()
    reason = serializers.CharField()
    at = serializers.DateTimeField()


class OrderViewSerializer(serializers.Serializer[object]):
    """An order as its customer sees it."""

    id = serializers.UUIDField()
    status = serializers.CharField()
    reason = serializers.CharField()
    sku = serializers.CharField()
    quantity = serializers.IntegerField()
    unit_price = serializers.CharField()
    total = serializers.CharField()
    currency = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    seq = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    payment = PaymentViewSerializer(allow_null=True)
    history = EventSerializer(many=True)
