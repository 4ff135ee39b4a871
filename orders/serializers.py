"""Request and response serializers of the order API."""

from decimal import Decimal
from typing import Any

from rest_framework import serializers

from flashsale.web.strict import StrictSerializer, Text, Whole
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
            ValidationError: the value is not a decimal number in a string.
        """
        text = super().run_validation(data)
        return self.converted(text) if isinstance(text, str) else text

    @staticmethod
    def converted(text: str) -> Decimal:
        """The number of a valid text."""
        return Decimal(text)


class PageSerializer(serializers.Serializer[Any]):
    """Query parameters of ``GET orders/``."""

    limit = serializers.RegexField(
        r"^[0-9]{1,3}\Z",
        required=False,
        trim_whitespace=False,
        help_text=f"Orders per page, 1 to {LONGEST_PAGE}. Default: {LONGEST_PAGE}.",
    )
    cursor = serializers.CharField(
        required=False, trim_whitespace=False, max_length=256, help_text="Taken from the `Link` header of the previous page."
    )

    def validate_limit(self, value: str) -> int:
        """
        Raises:
            ValidationError: the limit is out of range.
        """
        if not 1 <= int(value) <= LONGEST_PAGE:
            raise serializers.ValidationError(f"Must be from 1 to {LONGEST_PAGE}.")
        return int(value)


class OrderRequestSerializer(StrictSerializer):
    """The body of ``POST orders/``."""

    token = Text(r"^[\x21-\x7e]{1,128}\Z", allowed="1 to 128 printable ASCII characters")
    sku = Text(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z",
        allowed="1 to 64 characters from A-Z a-z 0-9 . _ -, starting with a letter or digit",
    )
    quantity = Whole(min_value=1, max_value=_MOST)
    source = Text(r"^[a-z0-9-]{1,32}\Z", allowed="1 to 32 characters from a-z 0-9 -")  # type: ignore[assignment]
    seq = Text(r"^[A-Za-z0-9._:-]{1,64}\Z", allowed="1 to 64 characters from A-Z a-z 0-9 . _ : -")
    payment_method = Text(r"^[A-Za-z0-9_]{1,32}\Z", required=False, validators=[_method])
    unit_price = Price(
        required=False,
        help_text="The price that was shown to the customer. If it is outdated, the order is refused with `price_changed`.",
    )


class PayRequestSerializer(StrictSerializer):
    """The body of ``POST orders/{id}/pay/``."""

    payment_method = Text(r"^[A-Za-z0-9_]{1,32}\Z")


class ActionSerializer(serializers.Serializer[object]):
    """The answer to ``POST orders/{id}/payment-action/``."""

    url = serializers.CharField(help_text="Where the customer confirms the payment; empty when that is done in the page.")
    client_secret = serializers.CharField(help_text="For the provider's script in the page; empty when it has none.")


class EmptySerializer(StrictSerializer):
    """A body without fields."""


class AcceptedSerializer(serializers.Serializer[object]):
    """Response of ``POST orders/``."""

    id = serializers.UUIDField()
    status = serializers.CharField(
        required=False, help_text="Current status. Left out of a replayed answer if it is temporarily unavailable."
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
    failure_code = serializers.CharField(
        help_text="Why it has failed; `provider_unavailable` of an open one: it is charged once the provider answers again."
    )
    needs_action = serializers.BooleanField(help_text="The customer has to confirm it: see `payment-action/`.")
    refund = RefundViewSerializer(allow_null=True)


class EventSerializer(serializers.Serializer[object]):
    status = serializers.CharField()
    reason = serializers.CharField()
    at = serializers.DateTimeField()


class TicketSerializer(serializers.Serializer[object]):
    """A position in the waiting room, or the purchase token after the call-up. Neither while the sale is being prepared."""

    sku = serializers.CharField()
    ticket = serializers.CharField()
    number = serializers.IntegerField(required=False)
    position = serializers.IntegerField(required=False)
    ahead = serializers.IntegerField(required=False)
    remaining = serializers.IntegerField(required=False)
    estimated_wait = serializers.IntegerField(required=False)
    retry_after = serializers.IntegerField(required=False, help_text="Seconds to wait before the next poll.")
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
    """Response of ``GET sales/{slug}/me/``."""

    tickets = TicketSerializer(many=True)
    orders = OrderViewSerializer(many=True, help_text="The ten newest orders of this sale.")
    may_buy = serializers.DictField(child=serializers.IntegerField(), help_text="Units the customer may still buy, by SKU.")
