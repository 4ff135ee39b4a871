"""The shapes of the order API."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from flashsale.edge.strict import StrictSerializer, Text, Whole
from orders.selectors import LONGEST_PAGE
from payments.services import known_method

_MOST = 1_000_000


def _method(value: str) -> str:
    if not known_method(value):
        raise serializers.ValidationError("Unknown payment method.")
    return value


class Price(Text):
    """A decimal number as a JSON string."""

    def __init__(self, **options: Any) -> None:
        super().__init__(r"^[0-9]{1,12}(\.[0-9]{1,4})?\Z", **options)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        """
        Raises:
            ValidationError: not such a number.
        """
        text = super().run_validation(data)
        return Decimal(text) if isinstance(text, str) else text


class PageSerializer(serializers.Serializer[Any]):
    """The query of ``GET orders/``."""

    limit = serializers.RegexField(
        r"^[0-9]{1,3}\Z",
        required=False,
        trim_whitespace=False,
        help_text=f"Orders on a page, 1 to {LONGEST_PAGE}; {LONGEST_PAGE} when left out.",
    )
    cursor = serializers.CharField(
        required=False, trim_whitespace=False, max_length=256, help_text="From the `Link` of the page before."
    )

    def validate_limit(self, value: str) -> int:
        """
        Raises:
            ValidationError: out of range.
        """
        if not 1 <= int(value) <= LONGEST_PAGE:
            raise serializers.ValidationError(f"1 to {LONGEST_PAGE}.")
        return int(value)


class OrderRequestSerializer(StrictSerializer):
    """The body of ``POST orders/``."""

    token = Text(r"^[\x21-\x7e]{1,128}\Z", allowed="1 to 128 visible ASCII characters, as it was issued")
    sku = Text(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z", allowed="1 to 64 of A-Z a-z 0-9 . _ -, a letter or digit first")
    quantity = Whole(min_value=1, max_value=_MOST)
    source = Text(r"^[a-z0-9-]{1,32}\Z", allowed="1 to 32 of a-z 0-9 -")  # type: ignore[assignment]
    seq = Text(r"^[A-Za-z0-9._:-]{1,64}\Z", allowed="1 to 64 of A-Z a-z 0-9 . _ : -")
    payment_method = Text(r"^[a-z_]{1,32}\Z", required=False, validators=[_method])
    unit_price = Price(
        required=False, help_text="The price that the customer was shown; another one is refused with `price_changed`."
    )


class PayRequestSerializer(StrictSerializer):
    """The body of ``POST orders/{id}/pay/``."""

    payment_method = Text(r"^[a-z_]{1,32}\Z")


class EmptySerializer(StrictSerializer):
    """A body without fields."""


class AcceptedSerializer(serializers.Serializer[object]):
    """The answer to ``POST orders/``."""

    id = serializers.UUIDField()
    status = serializers.CharField(
        required=False, help_text="The present one. Missing when the request is a repeated one and it cannot be said now."
    )
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


class TicketSerializer(serializers.Serializer[object]):
    """A place in line, or the purchase token once called up; neither while the sale is being prepared."""

    sku = serializers.CharField()
    ticket = serializers.CharField()
    number = serializers.IntegerField(required=False)
    position = serializers.IntegerField(required=False)
    ahead = serializers.IntegerField(required=False)
    remaining = serializers.IntegerField(required=False)
    estimated_wait = serializers.IntegerField(required=False)
    retry_after = serializers.IntegerField(required=False, help_text="Seconds.")
    token = serializers.CharField(required=False)
    expires_at = serializers.DateTimeField(required=False)


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


class StandingSerializer(serializers.Serializer[object]):
    """The answer to ``GET sales/{slug}/me/``."""

    tickets = TicketSerializer(many=True)
    orders = OrderViewSerializer(many=True, help_text="The newest ten of this sale.")
    may_buy = serializers.DictField(child=serializers.IntegerField(), help_text="Units, by SKU.")
