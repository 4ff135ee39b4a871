"""Read-only admin pages for payments, refunds and webhook events."""

from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from unfold.contrib.filters.admin import AllValuesCheckboxFilter, ChoicesDropdownFilter, RangeDateTimeFilter

from flashsale.backoffice.staff_admin import ReadOnly, StaffAdmin, amount, asking, button
from flashsale.core.clock import now
from payments import services
from payments.models import Payment, ProviderEvent, Refund

_SILENT = timedelta(hours=1)
_MOST_EVENTS = 100


class NeedsAPerson(admin.SimpleListFilter):
    """Payments that no sweep settles. Staff must look at them."""

    title = "needs a person"
    parameter_name = "person"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "Yes")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Payment]) -> QuerySet[Payment]:
        """Payments with a failed refund, or without an answer from the provider for an hour."""
        if self.value() != "1":
            return queryset
        is_silent = Q(status__in=services.OPEN, created_at__lt=now() - _SILENT)
        return queryset.filter(Q(refund__status=Refund.Status.FAILED) | is_silent)


@admin.register(Payment)
class PaymentAdmin(ReadOnly, StaffAdmin):
    list_display = (
        "id",
        "order_id",
        "customer_id",
        "shown_amount",
        "currency",
        "method",
        "origin",
        "status",
        "failure_code",
        "attempts",
        "created_at",
    )
    list_filter = (
        NeedsAPerson,
        ("status", ChoicesDropdownFilter),
        ("origin", ChoicesDropdownFilter),
        ("provider", AllValuesCheckboxFilter),
        ("created_at", RangeDateTimeFilter),
    )
    search_fields = ("provider_ref", "idempotency_key", "failure_code", "method")
    search_help_text = "Provider reference, idempotency key, failure code, method, or the whole id of a payment or an order"
    uuid_fields = ("id", "order_id")
    shown_amount = staticmethod(amount("amount", "Amount"))
    exclude = ("amount",)
    readonly_fields = ("shown_amount", "timeline")

    @admin.display(description="Timeline")
    def timeline(self, payment: Payment) -> str:
        """The history of the payment, its webhook events and its refund, oldest first."""
        lines = [(payment.created_at, f"opened, {payment.attempts} attempts so far")]
        events = ProviderEvent.objects.filter(provider=payment.provider, received_at__gte=payment.created_at - _SILENT)
        events = events.filter(payload__idempotency_key=payment.idempotency_key).order_by("pk")
        lines += [(event.received_at, f"event {event.kind}: {event.get_outcome_display()}") for event in events[:_MOST_EVENTS]]
        if payment.applied_at:
            lines.append((payment.applied_at, f"{payment.status} {payment.failure_code}, order updated"))
        for refund in Refund.objects.filter(payment=payment):
            lines.append((refund.created_at, f"refund of {refund.amount} requested: {refund.reason}"))
            lines.append((refund.updated_at, f"refund {refund.status} {refund.failure_code}, {refund.attempts} attempts"))
        return format_html_join("", "<div>{} {}</div>", [(f"{at:%Y-%m-%d %H:%M:%S}", text) for at, text in sorted(lines)])


@admin.register(Refund)
class RefundAdmin(ReadOnly, StaffAdmin):
    list_display = ("id", "payment", "shown_amount", "reason", "status", "failure_code", "attempts", "created_at")
    list_filter = (("status", ChoicesDropdownFilter), ("created_at", RangeDateTimeFilter))
    search_fields = ("provider_ref", "idempotency_key", "reason", "failure_code")
    search_help_text = (
        "Provider reference, idempotency key, reason, failure code, or the whole id of a refund, payment or order"
    )
    uuid_fields = ("id", "payment_id", "payment__order_id")
    list_select_related = ("payment",)
    actions = ("send_again",)
    press_send_again = button(
        "send_again",
        title="Send again",
        question="This sends a failed refund to the provider again.",
        icon="replay",
        permission="refund",
    )
    actions_detail = ("press_send_again",)
    shown_amount = staticmethod(amount("amount", "Amount", currency=lambda refund: refund.payment.currency))
    exclude = ("amount",)
    readonly_fields = ("shown_amount",)
    ordering = ("-id",)

    def has_refund_permission(self, request: HttpRequest, _object_id: str | None = None) -> bool:
        """True for users who may refund an order."""
        return request.user.has_perm("orders.refund_order")

    @admin.action(description="Send again", permissions=["refund"])
    @asking("This sends the failed ones of these refunds to the provider again.")
    def send_again(self, request: HttpRequest, queryset: QuerySet[Refund]) -> None:
        for refund in queryset.order_by("pk"):
            if services.send_again([refund.payment_id]):
                self.note(request, refund, "Sent again.")
                self.message_user(request, f"{refund}: The refund is sent again within a second.", messages.SUCCESS)
            else:
                self.message_user(request, f"{refund}: This refund has not failed.", messages.WARNING)


@admin.register(ProviderEvent)
class ProviderEventAdmin(ReadOnly, StaffAdmin):
    list_display = ("event_id", "provider", "kind", "outcome", "attempts", "received_at")
    list_filter = (
        ("outcome", ChoicesDropdownFilter),
        ("provider", AllValuesCheckboxFilter),
        ("kind", AllValuesCheckboxFilter),
        ("received_at", RangeDateTimeFilter),
    )
    search_fields = ("event_id", "kind", "payload")
    ordering = ("-id",)
