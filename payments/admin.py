"""Payments, refunds and what providers told us, for staff to find and read."""

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AllValuesCheckboxFilter, ChoicesDropdownFilter, RangeDateTimeFilter

from flashsale.backoffice.staff_admin import ReadOnly, StaffAdmin, amount, asking, button
from payments import services
from payments.models import Payment, ProviderEvent, Refund


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
    readonly_fields = ("shown_amount",)


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
        question="A refund that has failed is sent to the provider again.",
        icon="replay",
        permission="refund",
    )
    actions_detail = ("press_send_again",)
    shown_amount = staticmethod(amount("amount", "Amount", currency=lambda refund: refund.payment.currency))
    exclude = ("amount",)
    readonly_fields = ("shown_amount",)
    ordering = ("-id",)

    def has_refund_permission(self, request: HttpRequest, _object_id: str | None = None) -> bool:
        """Whoever may refund an order."""
        return request.user.has_perm("orders.refund_order")

    @admin.action(description="Send again", permissions=["refund"])
    @asking("Those of these refunds that have failed are sent to the provider again.")
    def send_again(self, request: HttpRequest, queryset: QuerySet[Refund]) -> None:
        for refund in queryset.order_by("pk"):
            if services.send_again([refund.payment_id]):
                self.note(request, refund, "Sent again.")
                self.message_user(request, f"{refund}: it is sent again within a second.", messages.SUCCESS)
            else:
                self.message_user(request, f"{refund}: it has not failed.", messages.WARNING)


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
