"""Sales, items, their stock, and the stock movements."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from flashsale.core import money
from flashsale.core.money import AmountField


class Product(models.Model):
    """A product. It can be in several sales."""

    sku = models.CharField(
        max_length=64,
        unique=True,
        validators=[
            RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", "Use letters, digits and . _ -, starting with a letter or digit.")
        ],
    )
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


LONGEST_PAYMENT_WINDOW = timedelta(days=30)
LARGEST_AMOUNT = Decimal("9999999999.99")  # largest payment; its column has ten digits before the decimal point
MOST_UNITS = 1_000_000_000  # per item; PostgreSQL's integer range ends at twice this
MOST_PER_CUSTOMER = 1_000_000
# Range of a sale's times. Python's datetime ends in 9999, and converting a time close to that to another zone fails.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class Sale(models.Model):
    """A period in which items are sold.

    ``state`` holds only decisions of staff. Whether a sale is scheduled, live or ended also depends on the time of day: see
    ``inventory.selectors.public_state``.
    """

    class State(models.TextChoices):
        OPEN = "open"
        PAUSED = "paused"
        ENDED = "ended"

    slug = models.SlugField(max_length=64, unique=True)
    name = models.CharField(max_length=200)
    opens_at = models.DateTimeField()
    closes_at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.OPEN)
    payment_window = models.DurationField(help_text="Unpaid orders are cancelled after this time.")
    waiting_room_rate = models.PositiveIntegerField(
        "waiting room (customers/s)",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text="Customers called up per second. Leave empty for no waiting room.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-opens_at"]
        permissions = [("operate_sale", "Can pause, resume, end and reconcile sales")]
        constraints = [
            models.CheckConstraint(
                name="sale_closes_after_it_opens",
                condition=Q(closes_at__gt=F("opens_at")),
                violation_error_message="The closing time must be after the opening time.",
            ),
            models.CheckConstraint(
                name="sale_times_within_reach",
                condition=Q(opens_at__gte=EARLIEST, closes_at__lte=LATEST),
                violation_error_message="The times of a sale must be in the years 2000 to 2099 (UTC).",
            ),
            models.CheckConstraint(
                name="sale_payment_window_within_reach",
                condition=Q(payment_window__gt=timedelta(0), payment_window__lte=LONGEST_PAYMENT_WINDOW),
                violation_error_message="The payment window must be longer than 0 and at most 30 days.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """
        Raises:
            ValidationError: a time or the payment window is out of range.
        """
        moments = {"opens_at": self.opens_at, "closes_at": self.closes_at}
        far = [name for name, moment in moments.items() if moment is not None and not EARLIEST <= moment <= LATEST]
        if far:
            raise ValidationError(dict.fromkeys(far, "Must be in the years 2000 to 2099 (UTC)."))
        if self.payment_window is not None and not timedelta(0) < self.payment_window <= LONGEST_PAYMENT_WINDOW:
            raise ValidationError({"payment_window": f"Must be longer than 0 and at most {LONGEST_PAYMENT_WINDOW.days} days."})


class SaleItem(models.Model):
    """A product in a sale, with its stock. The stock columns always equal the sums of the item's movements."""

    sale = models.ForeignKey(Sale, on_delete=models.PROTECT, related_name="items")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="items")
    price = AmountField(validators=[MinValueValidator(0)])
    list_price = AmountField(null=True, blank=True, validators=[MinValueValidator(0)])
    currency = models.CharField(max_length=3, default="EUR", validators=[RegexValidator(r"^[A-Z]{3}\Z", "ISO 4217")])
    per_customer = models.PositiveIntegerField(
        default=1, validators=[MinValueValidator(1), MaxValueValidator(MOST_PER_CUSTOMER)]
    )
    allocated = models.PositiveIntegerField(default=0, editable=False)
    available = models.PositiveIntegerField(default=0, editable=False)
    reserved = models.PositiveIntegerField(default=0, editable=False)
    sold = models.PositiveIntegerField(default=0, editable=False)
    # Incremented with every change that the gate needs: the sale's terms and the allocated units.
    gate_version = models.PositiveBigIntegerField(default=1, editable=False)
    # Incremented by a trigger with every change of price, currency or per_customer; see ``Terms``.
    terms_version = models.PositiveBigIntegerField(default=1, db_default=1, editable=False)
    # Epoch of the gate: incremented when a missing gate is rebuilt. Each order records the epoch that admitted it.
    gate_life = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta:
        ordering = ["id"]
        permissions = [("operate_saleitem", "Can compare and rebuild gates"), ("adjust_saleitem", "Can adjust stock")]
        constraints = [
            models.UniqueConstraint(fields=["sale", "product"], name="item_once_per_sale"),
            models.CheckConstraint(name="item_available_not_negative", condition=Q(available__gte=0)),
            models.CheckConstraint(name="item_reserved_not_negative", condition=Q(reserved__gte=0)),
            models.CheckConstraint(name="item_sold_not_negative", condition=Q(sold__gte=0)),
            models.CheckConstraint(name="item_units_add_up", condition=Q(allocated=F("available") + F("reserved") + F("sold"))),
            models.CheckConstraint(name="item_per_customer_positive", condition=Q(per_customer__gte=1)),
            models.CheckConstraint(name="item_price_not_negative", condition=Q(price__gte=0)),
            # In PostgreSQL, NaN is greater than every number.
            models.CheckConstraint(name="item_price_is_a_number", condition=Q(price__lte=LARGEST_AMOUNT)),
            models.CheckConstraint(name="item_list_price_is_a_number", condition=Q(list_price__lte=LARGEST_AMOUNT)),
        ]

    def __str__(self) -> str:
        return f"{self.sale_id}/{self.product_id}"

    def clean(self) -> None:
        """
        Raises:
            ValidationError: the currency is not in ISO 4217, an amount has too many decimals, or an order of ``per_customer``
                units would exceed the largest payment.
        """
        if self.currency and money.decimals(self.currency) is None:
            raise ValidationError({"currency": "Enter an ISO 4217 currency code."})
        amounts = {"price": self.price, "list_price": self.list_price}
        said = {name: money.wrong_amount(amount, self.currency) for name, amount in amounts.items() if amount is not None}
        if any(said.values()):
            raise ValidationError({name: wrong for name, wrong in said.items() if wrong})
        if self.price is not None and self.per_customer and self.price * self.per_customer > LARGEST_AMOUNT:
            raise ValidationError({"per_customer": f"An order of this many units would cost more than {LARGEST_AMOUNT}."})


class Terms(models.Model):
    """Price, currency and limit per customer of an item in one period. Append-only.

    Triggers write the row in the statement that changes the item. An order is checked against the terms under which it was
    admitted, not against the current ones.
    """

    # A trigger deletes the terms together with their item.
    item = models.ForeignKey(SaleItem, on_delete=models.DO_NOTHING, related_name="terms", db_index=False)
    version = models.PositiveBigIntegerField(help_text="The item's terms_version while these terms applied.")
    price = models.DecimalField(max_digits=19, decimal_places=4)
    currency = models.CharField(max_length=3)
    per_customer = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "version"], name="terms_once_per_item_and_version")]

    def __str__(self) -> str:
        return f"{self.price} {self.currency}"


class StockMovement(models.Model):
    """A change of an item's stock. Append-only; at most one movement of each kind per reservation (the order's id)."""

    class Kind(models.TextChoices):
        ALLOCATE = "allocate"
        ADJUST = "adjust"
        RESERVE = "reserve"
        SELL = "sell"
        RELEASE = "release"
        RETURN = "return"  # sold units put back on sale

    item = models.ForeignKey(SaleItem, on_delete=models.PROTECT, related_name="movements", db_index=False)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    units = models.IntegerField(help_text="Positive, except for adjustments that remove units.")
    reservation_id = models.UUIDField(null=True, blank=True)
    actor = models.CharField(max_length=150, blank=True, help_text="The staff user, if staff made the change.")
    reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["reservation_id", "kind"],
                name="movement_once_per_reservation_and_kind",
                condition=Q(reservation_id__isnull=False),
            ),
            models.CheckConstraint(
                name="movement_of_a_reservation_has_one",
                condition=Q(kind__in=["allocate", "adjust"], reservation_id__isnull=True)
                | Q(kind__in=["reserve", "sell", "release", "return"], reservation_id__isnull=False),
            ),
            models.CheckConstraint(name="movement_units_signed", condition=Q(units__gt=0) | Q(kind="adjust", units__lt=0)),
        ]
        indexes = [models.Index(fields=["item", "kind"], name="movement_by_item")]

    def __str__(self) -> str:
        return f"{self.kind} {self.units}"
