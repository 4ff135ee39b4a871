"""Sales and stock in the admin. Changes reach the gate after the commit. Stock changes only through adjustments."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.forms import BaseModelFormSet, ModelForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import TabularInline
from unfold.contrib.filters.admin import ChoicesDropdownFilter, RangeDateTimeFilter, RelatedDropdownFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from flashsale.backoffice import once
from flashsale.backoffice.autocomplete import CheckedAutocomplete
from flashsale.backoffice.minutes import MinutesField
from flashsale.backoffice.staff_admin import ReadOnly, StaffAdmin, amount, asking, button, linked
from flashsale.core import money
from flashsale.core.clock import now
from flashsale.core.errors import FlashsaleError, Unavailable
from inventory import selectors, services
from inventory.models import Product, Sale, SaleItem, StockMovement
from tasks.repair import drift, gate_sync

_SHOWN = ("shown_price", "shown_list_price")
_STOCK = ("allocated", "available", "reserved", "sold")
_LATER = "Saved. Redis is updated within a second."
_MOST_UNITS = 1_000_000  # per adjustment; catches typing errors and stays far below the columns' range


def tell_gates(request: HttpRequest, items: Iterable[int]) -> None:
    """Mark the gates of these items as outdated, and update them after the commit."""
    _refresh_later(request, services.touch_gate(items))


def _refresh_later(request: HttpRequest, items: Iterable[int]) -> None:
    def tell() -> None:
        try:
            gate_sync.refresh_gates(items)
        except FlashsaleError as error:
            messages.warning(request, f"{error.detail} {_LATER}")

    transaction.on_commit(tell)


@admin.register(Product)
class ProductAdmin(StaffAdmin):
    list_display = ("name", "sku", "created_at")
    search_fields = ("name", "sku")

    def get_readonly_fields(self, request: HttpRequest, obj: Product | None = None) -> tuple[str, ...]:
        """The SKU is fixed once the product is in a sale, because URLs, gates and orders contain it."""
        return ("sku", "created_at") if obj and obj.items.exists() else ("created_at",)


class SaleForm(ModelForm):  # type: ignore[type-arg]
    """Labels name the time zone of times and the unit of durations."""

    payment_window = MinutesField(
        label="Payment window (minutes)",
        initial=timedelta(minutes=10),
        widget=UnfoldAdminTextInputWidget(),
        help_text="Unpaid orders are cancelled after this time. 10 means ten minutes, 0:00:30 thirty seconds.",
    )


class ItemForm(ModelForm):  # type: ignore[type-arg]
    """The product of an item cannot be changed: a disabled field ignores POST data."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk and "product" in self.fields:
            self.fields["product"].disabled = True
        for name in ("price", "list_price"):
            if isinstance(self.initial.get(name), Decimal):
                self.initial[name] = Decimal(money.text(self.initial[name], self.instance.currency))

    def clean(self) -> dict[str, Any] | None:
        """Check that the list price is not below the price."""
        values = super().clean()
        price, list_price = self.cleaned_data.get("price"), self.cleaned_data.get("list_price")
        if price is not None and list_price is not None and list_price < price:
            self.add_error(
                "list_price", f"The list price is lower than the price ({price}). Check whether the two are swapped."
            )
        return values


_adjust_link = linked(
    "Stock", lambda item: reverse("admin:inventory_saleitem_adjust_stock", args=[item.pk]) if item.pk else "", text="Adjust"
)


class ShownAmounts:
    """Shows amounts with the decimals of their currency to users with view permission only. Goes before the admin class."""

    shown_price = staticmethod(amount("price", "Price"))
    shown_list_price = staticmethod(amount("list_price", "List price"))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """The form's fields. For view-only users, amounts are replaced by their formatted versions."""
        fields = super().get_fields(request, obj)  # type: ignore[misc]
        if self.has_change_permission(request, obj):  # type: ignore[attr-defined]
            return fields
        return [f"shown_{name}" if name in ("price", "list_price") else name for name in fields]


class ItemInline(ShownAmounts, CheckedAutocomplete, TabularInline):
    model = SaleItem
    form = ItemForm
    extra = 0
    hide_title = True
    verbose_name_plural = "items (a new item has no units until you adjust its stock)"
    fields = ("product", "price", "list_price", "currency", "per_customer", *_STOCK, "adjust")
    readonly_fields = (*_STOCK, *_SHOWN, "adjust")
    autocomplete_fields = ("product",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SaleItem]:
        items: QuerySet[SaleItem] = super().get_queryset(request).select_related("product", "sale")
        return items

    @admin.display(description="Stock")
    def adjust(self, item: SaleItem) -> str:
        return str(_adjust_link(item)) if item.pk else "after saving"


@admin.register(Sale)
class SaleAdmin(StaffAdmin):
    form = SaleForm
    list_display = ("name", "slug", "public_state", "opens_at", "closes_at", "units_allocated", "units_available", "units_sold")
    list_filter = (
        ("state", ChoicesDropdownFilter),
        ("opens_at", RangeDateTimeFilter),
        ("closes_at", RangeDateTimeFilter),
    )
    search_fields = ("name", "slug")
    fields = ("name", "slug", "state", "opens_at", "closes_at", "payment_window", "waiting_room_rate", "created_at")
    inlines = (ItemInline,)
    actions = ("pause", "resume", "end", "reconcile")
    press_pause = button("pause", title="Pause", question="New orders are refused until the sale is resumed.", icon="pause")
    press_resume = button("resume", title="Resume", question="The sale accepts orders again.", icon="play_arrow")
    press_end = button("end", title="End", question="The sale ends at once and cannot be reopened.", icon="stop")
    press_reconcile = button(
        "reconcile", title="Reconcile", question="Gates that differ from PostgreSQL are rebuilt.", icon="balance"
    )
    actions_detail = ("press_pause", "press_resume", "press_end", "press_reconcile")

    def get_readonly_fields(self, request: HttpRequest, obj: Sale | None = None) -> tuple[str, ...]:
        """``state`` changes only through actions, so that a form opened earlier cannot undo a pause. URLs contain the slug."""
        return ("slug", "state", "created_at") if obj else ("state", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Sale]:
        sums = {f"units_{name}": Coalesce(Sum(f"items__{name}"), 0) for name in ("allocated", "available", "sold")}
        sales: QuerySet[Sale] = super().get_queryset(request).annotate(**sums)
        return sales

    @display(description="State", label={"scheduled": "info", "live": "success", "paused": "warning", "ended": "danger"})
    def public_state(self, sale: Sale) -> str:
        return selectors.public_state(sale.state, sale.opens_at, sale.closes_at, now())

    @admin.display(description="Allocated", ordering="units_allocated")
    def units_allocated(self, sale: Any) -> int:
        return int(sale.units_allocated)

    @admin.display(description="Available", ordering="units_available")
    def units_available(self, sale: Any) -> int:
        return int(sale.units_available)

    @admin.display(description="Sold", ordering="units_sold")
    def units_sold(self, sale: Any) -> int:
        return int(sale.units_sold)

    def save_model(self, request: HttpRequest, obj: Sale, form: "ModelForm[Sale]", change: bool) -> None:
        _save(obj, form, change=change)

    def save_formset(
        self, request: HttpRequest, form: "ModelForm[Sale]", formset: "BaseModelFormSet[Any, Any]", change: bool
    ) -> None:
        """Write only the changed fields, because the pipeline updates the stock columns of the same rows concurrently."""
        formset.save(commit=False)
        for item in formset.deleted_objects:
            item.delete()
        for item, changed in formset.changed_objects:
            item.save(update_fields=changed)
        for item in formset.new_objects:
            item.save()

    def changeform_view(self, request: HttpRequest, object_id: str | None = None, *more: Any, **options: Any) -> HttpResponse:
        """Ask for confirmation if items without units would be sold out from the start."""
        sale = self.get_object(request, object_id) if object_id and request.method == "GET" else None
        if sale is not None:
            self._warn_of_no_units(request, sale)
        return super().changeform_view(request, object_id, *more, **options)

    def _warn_of_no_units(self, request: HttpRequest, sale: Sale) -> None:
        empty = sale.items.filter(allocated=0).select_related("product")
        names = ", ".join(item.product.sku for item in empty)
        if names and selectors.public_state(sale.state, sale.opens_at, sale.closes_at, now()) != "ended":
            opening = f"{sale.opens_at:%Y-%m-%d %H:%M} UTC"
            said = f"No units: {names}. They are sold out when the sale opens ({opening}) unless you adjust their stock."
            self.message_user(request, said, messages.WARNING)

    def describe(self, sale: Sale) -> str:
        """The sale, its state and its remaining units."""
        left = f"{self.units_available(sale)} of {self.units_allocated(sale)} units left"
        return f"{sale.name} ({sale.slug}): {self.public_state(sale)}, {left}"

    def save_related(self, request: HttpRequest, form: "ModelForm[Sale]", formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        self._warn_of_no_units(request, form.instance)
        tell_gates(request, selectors.items_of_sale(form.instance.slug))

    def _set_state(self, request: HttpRequest, sales: QuerySet[Sale], state: Sale.State, done: str) -> None:
        for sale in sales:
            try:
                gate_sync.set_state(sale.slug, state)
            except Unavailable as error:
                self.message_user(request, f"{sale}: {error.detail} {_LATER}", messages.WARNING)
            except FlashsaleError as error:
                self.message_user(request, f"{sale}: {error.detail}", messages.ERROR)
                continue
            self.note(request, sale, f"{done}.")
            self.message_user(request, f"{sale}: {done.lower()}.", messages.SUCCESS)

    @admin.action(description="Pause", permissions=["operate"])
    @asking("These sales refuse new orders until they are resumed.", beyond=1)
    def pause(self, request: HttpRequest, queryset: QuerySet[Sale]) -> None:
        self._set_state(request, queryset, Sale.State.PAUSED, "Paused")

    @admin.action(description="Resume", permissions=["operate"])
    @asking("These sales accept orders again.", beyond=1)
    def resume(self, request: HttpRequest, queryset: QuerySet[Sale]) -> None:
        self._set_state(request, queryset, Sale.State.OPEN, "Resumed")

    @admin.action(description="End", permissions=["operate"])
    @asking("These sales end at once and cannot be reopened.", beyond=1)
    def end(self, request: HttpRequest, queryset: QuerySet[Sale]) -> None:
        self._set_state(request, queryset, Sale.State.ENDED, "Ended")

    @admin.action(description="Reconcile gate and ledger", permissions=["operate"])
    def reconcile(self, request: HttpRequest, queryset: QuerySet[Sale]) -> None:
        for sale in queryset:
            try:
                self._reconcile(request, sale)
            except FlashsaleError as error:
                self.message_user(request, f"{sale}: some gates could not be reconciled. {error.detail}", messages.ERROR)

    def _reconcile(self, request: HttpRequest, sale: Sale) -> None:
        mended = []
        for found in drift.drifts(sale.slug):
            level = messages.WARNING if found.is_drift else messages.INFO
            self.message_user(request, _side_by_side(found), level)
            if found.is_drift:
                drift.mend(found, request.user.get_username())
                mended.append(found.sku)
        outcome = f"gates rebuilt: {', '.join(mended)}" if mended else "no drift"
        self.note(request, sale, f"Reconciled, {outcome}.")
        self.message_user(request, f"{sale}: reconciled, {outcome}.", messages.SUCCESS)


def _save(row: Model, form: "ModelForm[Any]", *, change: bool) -> None:
    if change:
        row.save(update_fields=form.changed_data)
    else:
        row.save()


def _side_by_side(found: drift.Drift) -> str:
    missing = found.gate_stock is None
    columns = ", ".join(f"{name} {'missing' if missing else gate} / {ledger}" for name, gate, ledger in found.pairs)
    verdict = "drift" if found.is_drift else "no drift"
    why = f" ({found.why})" if found.why else ""
    return f"{found.sku}, gate / ledger: {columns}; in flight {found.in_flight}; {verdict}{why}"


class AdjustStockForm(forms.Form):
    units = forms.IntegerField(
        min_value=-_MOST_UNITS,
        max_value=_MOST_UNITS,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Units to add. A negative number removes units; only available units can be removed.",
    )
    reason = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget(), help_text="Stored with the stock movement.")

    def clean_units(self) -> int:
        units: int = self.cleaned_data["units"]
        if not units:
            raise forms.ValidationError("Enter a number other than 0.")
        return units


@admin.register(SaleItem)
class SaleItemAdmin(ShownAmounts, CheckedAutocomplete, StaffAdmin):
    form = ItemForm
    list_display = ("sku", "sale", "shown_price", "currency", "per_customer", *_STOCK)
    list_filter = (("sale", RelatedDropdownFilter), ("sale__state", ChoicesDropdownFilter))
    search_fields = ("product__sku", "product__name", "sale__slug", "sale__name")
    list_select_related = ("sale", "product")
    fields = ("sale", "product", "price", "list_price", "currency", "per_customer", *_STOCK)
    autocomplete_fields = ("sale", "product")
    actions_detail = ("adjust_stock", "gate_and_ledger")
    actions_row = ("adjust_stock", "gate_and_ledger")

    def get_readonly_fields(self, request: HttpRequest, obj: SaleItem | None = None) -> tuple[str, ...]:
        return ("sale", "product", *_STOCK, *_SHOWN) if obj else (*_STOCK, *_SHOWN)

    def has_adjust_permission(self, request: HttpRequest, _object_id: str | None = None) -> bool:
        """Allow the ``adjust`` permission, and the ``change`` permission of the item too."""
        return self.may(request, "adjust") or self.may(request, "change")

    @admin.display(description="SKU", ordering="product__sku")
    def sku(self, item: SaleItem) -> str:
        return item.product.sku

    def save_model(self, request: HttpRequest, obj: SaleItem, form: "ModelForm[SaleItem]", change: bool) -> None:
        """Write only the changed fields, because the pipeline updates the stock columns of the same row concurrently."""
        _save(obj, form, change=change)
        _refresh_later(request, [obj.pk])  # a database trigger has already set the version of the new terms

    @action(description="Adjust stock", url_path="adjust-stock", icon="exposure", permissions=["adjust"])
    def adjust_stock(self, request: HttpRequest, object_id: str) -> HttpResponse:
        item = self.get_object(request, object_id)
        if item is None:
            return self.gone(request, object_id)
        form = AdjustStockForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            done = once.once(
                request, f"adjust stock of item {item.pk}", lambda: self._adjust(request, item, **form.cleaned_data)
            )
            if done is not False:
                return redirect("admin:inventory_saleitem_change", item.pk)
        item.refresh_from_db()
        title = f"Adjust stock: {item.product.sku} in {item.sale}"
        stock = [(name, getattr(item, name)) for name in _STOCK]
        context = self.admin_site.each_context(request) | {
            "title": title,
            "opts": self.opts,
            "item": item,
            "form": form,
            "form_key": once.new_key(),
            "stock": stock,
        }
        return TemplateResponse(request, "admin/inventory/saleitem/adjust_stock.html", context)

    @action(description="Gate and ledger", url_path="gate-and-ledger", icon="balance", permissions=["operate"])
    def gate_and_ledger(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Compare gate and ledger and show the likely cause. A rebuild is refused if the data changed since it was shown."""
        item = self.get_object(request, object_id)
        if item is None:
            return self.gone(request, object_id)
        found = None
        try:
            found = drift.drift(item.pk)
            if request.method == "POST":
                seen = found
                once.once(request, f"rebuild gate of item {item.pk}", lambda: self._rebuild(request, item, seen))
                return redirect("admin:inventory_saleitem_gate_and_ledger", item.pk)
        except FlashsaleError as error:
            self.message_user(request, f"Nothing was changed. {error.detail}", messages.ERROR)
        context = self.admin_site.each_context(request) | {
            "title": f"Gate and ledger: {item.product.sku} in {item.sale}",
            "opts": self.opts,
            "item": item,
            "found": found,
            "form_key": once.new_key(),
            "mends": item.mends.all()[:20],
        }
        return TemplateResponse(request, "admin/inventory/saleitem/gate_and_ledger.html", context)

    def _rebuild(self, request: HttpRequest, item: SaleItem, found: drift.Drift) -> None:
        drift.mend(found, request.user.get_username())
        self.note(request, item, f"Rebuilt the gate: {found.why or 'asked for'}")
        self.message_user(request, f"{found.sku}: the gate was rebuilt from the ledger.", messages.SUCCESS)

    def _adjust(self, request: HttpRequest, item: SaleItem, *, units: int, reason: str) -> bool:
        """Adjust the stock. Returns whether PostgreSQL was changed."""
        actor = request.user.get_username()
        mine = StockMovement.objects.filter(item=item, kind=StockMovement.Kind.ADJUST, actor=actor)
        before = mine.count()
        try:
            gate_sync.adjust_stock(item.pk, units, actor=actor, reason=reason)
        except FlashsaleError as error:
            if mine.count() == before:
                self.message_user(request, f"Nothing was changed. {error.detail}", messages.ERROR)
                return False
            self.message_user(request, f"{error.detail} {_LATER}", messages.WARNING)
        self.note(request, item, f"Adjusted stock by {units:+d}: {reason}")
        self.message_user(request, f"{item.product.sku}: stock adjusted by {units:+d}.", messages.SUCCESS)
        return True


@admin.register(StockMovement)
class StockMovementAdmin(ReadOnly, StaffAdmin):
    """Stock movements."""

    list_display = ("id", "created_at", "sale", "sku", "kind", "units", "reservation_id", "actor", "reason")
    list_filter = (
        ("kind", ChoicesDropdownFilter),
        ("item__sale", RelatedDropdownFilter),
        ("item__product", RelatedDropdownFilter),
        ("created_at", RangeDateTimeFilter),
    )
    search_fields = ("item__product__sku", "actor", "reason")
    search_help_text = "SKU, actor, reason, or a complete order id"
    uuid_fields = ("reservation_id",)
    list_select_related = ("item__sale", "item__product")
    ordering = ("-id",)

    @admin.display(description="Sale", ordering="item__sale")
    def sale(self, movement: StockMovement) -> str:
        return str(movement.item.sale)

    @admin.display(description="SKU", ordering="item__product__sku")
    def sku(self, movement: StockMovement) -> str:
        return movement.item.product.sku
