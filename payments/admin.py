"""Payments, refunds and what providers told us, for staff to find and read."""

from django.contrib import admin
from unfold.contrib.filters.admin import AllValuesCheckboxFilter, ChoicesDropdownFilter, RangeDateTimeFilter

from payments.models import Payment, ProviderEvent, Refund
from tasks.admin import ReadOnly, StaffAdmin, amount


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
    shown_amount = staticmethod(amount("amount", "Amount", currency=lambda refund: refund.payment.currency))
    exclude = ("amount",)
    readonly_fields = ("shown_amount",)
    ordering = ("-id",)


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
