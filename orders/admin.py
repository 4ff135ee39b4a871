"""Orders in the admin. Staff can search, read, cancel and refund orders, but not edit them."""

from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateTimeFilter, RelatedDropdownFilter
from unfold.decorators import display

from flashsale.backoffice.staff_admin import ReadOnly, StaffAdmin, amount, asking, button, linked
from flashsale.core import money
from flashsale.core.errors import FlashsaleError
from orders import services
from orders.models import Order, OrderEvent
from tasks.steps import gate_effects

_COLORS = {
    "reserved": "info",
    "pending_payment": "warning",
    "paid": "success",
    "refunded": "primary",
    "cancelled": "danger",
    "rejected": "danger",
}


class HistoryInline(ReadOnly, TabularInline):
    model = OrderEvent
    fields = readonly_fields = ("at", "status", "reason", "actor")
    verbose_name_plural = "history"
    hide_title = True
    extra = 0


@admin.register(Order)
class OrderAdmin(ReadOnly, StaffAdmin):
    list_display = ("id", "customer", "sale", "sku", "quantity", "total", "status_label", "source", "seq", "created_at")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("item__sale", RelatedDropdownFilter),
        ("created_at", RangeDateTimeFilter),
    )
    search_fields = ("customer__username", "source", "seq")
    search_help_text = "Customer, source, seq, or the whole id"
    uuid_fields = ("id",)
    list_select_related = ("customer", "item__sale")
    readonly_fields = ("shown_price",)
    fields = (
        ("id", "status_label", "reason"),
        ("customer", "source", "seq"),
        ("sale", "sku", "payments"),
        ("quantity", "shown_price", "total"),
        ("payment_method", "digest"),
        ("admitted_at", "created_at", "expires_at", "updated_at"),
    )
    inlines = (HistoryInline,)
    actions = ("cancel", "refund", "refund_and_restock")
    press_cancel = button(
        "cancel",
        title="Cancel order",
        question="The order is cancelled and its units go back on sale.",
        icon="cancel",
        permission="cancel",
    )
    press_refund = button(
        "refund",
        title="Refund",
        question="All the money goes back to the customer; the units stay sold.",
        icon="undo",
        permission="refund",
    )
    press_refund_and_restock = button(
        "refund_and_restock",
        title="Refund and put back on sale",
        question="All the money goes back to the customer, who may buy again; the units go back on sale.",
        icon="undo",
        permission="refund",
    )
    actions_detail = ("press_cancel", "press_refund", "press_refund_and_restock")

    def has_cancel_permission(self, request: HttpRequest, _object_id: str | None = None) -> bool:
        """Allow the older ``change`` permission too, so that existing staff keep the right to cancel."""
        return self.may(request, "cancel") or self.may(request, "change")

    def has_refund_permission(self, request: HttpRequest, _object_id: str | None = None) -> bool:
        """Refunds need a separate permission."""
        return self.may(request, "refund")

    def describe(self, order: Order) -> str:
        """Amount, customer and item."""
        what = f"{order.quantity} x {order.sku}, {order.status}, order {order.pk}"
        return f"{self.total(order)} of {order.customer.username}: {what}"

    def totals(self, queryset: QuerySet[Order]) -> list[str]:
        """Summary of the selected orders: count, amount per currency, customers and items."""
        orders = list(queryset.order_by("pk"))
        amounts: defaultdict[str, Decimal] = defaultdict(Decimal)
        for order in orders:
            amounts[order.currency] += order.unit_price * order.quantity
        return [
            f"{len(orders)} orders",
            *(f"{money.text(amount, currency)} {currency}" for currency, amount in sorted(amounts.items())),
            f"Customers: {', '.join(sorted({order.customer.username for order in orders}))}",
            f"Items: {', '.join(sorted({order.sku for order in orders}))}",
        ]

    @admin.display(description="Sale", ordering="item__sale")
    def sale(self, order: Order) -> str:
        return str(order.item.sale)

    shown_price = staticmethod(amount("unit_price", "Unit price"))

    @admin.display(description="Total")
    def total(self, order: Order) -> str:
        return f"{money.text(order.unit_price * order.quantity, order.currency)} {order.currency}"

    @display(description="Status", ordering="status", label=_COLORS)
    def status_label(self, order: Order) -> str:
        return order.status

    payments = staticmethod(
        linked("Payments", lambda order: f"{reverse('admin:payments_payment_changelist')}?q={order.pk}", text="Show payments")
    )

    @admin.action(description="Cancel", permissions=["cancel"])
    @asking("These orders are cancelled and their units go back on sale.")
    def cancel(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        self._each(request, queryset, services.cancel_by_staff, "Cancelled")

    @admin.action(description="Refund", permissions=["refund"])
    @asking("All the money of these orders goes back to their customers; the units stay sold.")
    def refund(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        self._each(request, queryset, services.refund_by_staff, "Refunded")

    @admin.action(description="Refund and put back on sale", permissions=["refund"])
    @asking("All the money of these orders goes back to their customers, who may buy again; the units go back on sale.")
    def refund_and_restock(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        restock = partial(services.refund_by_staff, restock=True)
        self._each(request, queryset, restock, "Refunded, units put back on sale,")

    def _each(self, request: HttpRequest, orders: QuerySet[Order], act: Callable[[UUID, str], None], done: str) -> None:
        for order in orders.order_by("pk"):
            try:
                act(order.pk, request.user.get_username())
            except FlashsaleError as error:
                self.message_user(request, f"{order}: {error.detail}", messages.ERROR)
                continue
            self.note(request, order, f"{done} by staff.")
            self.message_user(request, f"{order}: {done.lower()}.", messages.SUCCESS)
        try:
            gate_effects.apply()
        except FlashsaleError as error:
            self.message_user(request, f"{error.detail} Saved. Redis is updated within a second.", messages.WARNING)
