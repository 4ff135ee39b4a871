"""Stock: what is sold, when, and the ledger of every unit."""

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
    """What an item is, whatever sale it is in."""

    sku = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z", "Letters, digits, . _ -")],
    )
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


LONGEST_PAYMENT_WINDOW = timedelta(days=30)
LARGEST_AMOUNT = Decimal("9999999999.99")  # of a payment; its column has ten digits before the point
MOST_UNITS = 1_000_000_000  # of an item; PostgreSQL's integer ends at twice that
MOST_PER_CUSTOMER = 1_000_000
# Of a sale. Python's years end at 9999: a time near it, seen from another zone, is one that nobody can read any more.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


class Sale(models.Model):
    """A span of time in which items are sold.

    ``state`` holds only what staff decided; whether a sale is scheduled, live or over also depends on the clock
    (see ``inventory.selectors.public_state``).
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
    payment_window = models.DurationField(help_text="How long an order waits for its payment before it is cancelled.")
    waiting_room_rate = models.PositiveIntegerField(
        "waiting room (customers/s)",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text="At this pace customers are called up; empty: no waiting room.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-opens_at"]
        permissions = [("operate_sale", "Can pause, resume, end and reconcile sales")]
        constraints = [
            models.CheckConstraint(
                name="sale_closes_after_it_opens",
                condition=Q(closes_at__gt=F("opens_at")),
                violation_error_message="A sale closes after it opens.",
            ),
            models.CheckConstraint(
                name="sale_times_within_reach",
                condition=Q(opens_at__gte=EARLIEST, closes_at__lte=LATEST),
                violation_error_message="The times of a sale lie in the years 2000 to 2099, in UTC.",
            ),
            models.CheckConstraint(
                name="sale_payment_window_within_reach",
                condition=Q(payment_window__gt=timedelta(0), payment_window__lte=LONGEST_PAYMENT_WINDOW),
                violation_error_message="The payment window is more than nothing, and 30 days at most.",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """
        Raises:
            ValidationError: a time out of reach, or a time to pay that no order could live by.
        """
        moments = {"opens_at": self.opens_at, "closes_at": self.closes_at}
        far = [name for name, moment in moments.items() if moment is not None and not EARLIEST <= moment <= LATEST]
        if far:
            raise ValidationError(dict.fromkeys(far, "Within the years 2000 to 2099, in UTC."))
        if self.payment_window is not None and not timedelta(0) < self.payment_window <= LONGEST_PAYMENT_WINDOW:
            raise ValidationError({"payment_window": f"More than nothing, {LONGEST_PAYMENT_WINDOW.days} days at most."})


class SaleItem(models.Model):
    """A product in a sale, with its stock. The columns are the sums of the item's movements, always."""

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
    # Raised by every write of the row that the gate must learn of: terms of the sale, units allocated.
    gate_version = models.PositiveBigIntegerField(default=1, editable=False)
    # Raised by the database with every change of price, currency or per_customer; see ``Terms``.
    terms_version = models.PositiveBigIntegerField(default=1, db_default=1, editable=False)
    # How many gates there were: raised when one was missing. An order says under which it was admitted.
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
            # PostgreSQL's NaN is greater than every number.
            models.CheckConstraint(name="item_price_is_a_number", condition=Q(price__lte=LARGEST_AMOUNT)),
            models.CheckConstraint(name="item_list_price_is_a_number", condition=Q(list_price__lte=LARGEST_AMOUNT)),
        ]

    def __str__(self) -> str:
        return f"{self.sale_id}/{self.product_id}"

    def clean(self) -> None:
        """
        Raises:
            ValidationError: no currency of ISO 4217, more decimals than it has, or an order of as much as one may buy would
                cost more than a payment can be of.
        """
        if self.currency and money.decimals(self.currency) is None:
            raise ValidationError({"currency": "No currency in use with a minor unit, by ISO 4217."})
        amounts = {"price": self.price, "list_price": self.list_price}
        said = {name: money.wrong_amount(amount, self.currency) for name, amount in amounts.items() if amount is not None}
        if any(said.values()):
            raise ValidationError({name: wrong for name, wrong in said.items() if wrong})
        if self.price is not None and self.per_customer and self.price * self.per_customer > LARGEST_AMOUNT:
            raise ValidationError({"per_customer": f"So many would cost more than {LARGEST_AMOUNT}."})


class Terms(models.Model):
    """What an item cost and how many one customer might have, from one change of it to the next: append-only.

    Triggers write it, in the statement that changes the item, whoever does that. An order is judged by the terms under which
    it was admitted, not by the present ones.
    """

    # A trigger deletes the terms of an item that is deleted.
    item = models.ForeignKey(SaleItem, on_delete=models.DO_NOTHING, related_name="terms", db_index=False)
    version = models.PositiveBigIntegerField(help_text="The item's terms_version while these were in force.")
    price = models.DecimalField(max_digits=19, decimal_places=4)
    currency = models.CharField(max_length=3)
    per_customer = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["item", "version"], name="terms_once_per_item_and_version")]

    def __str__(self) -> str:
        return f"{self.price} {self.currency}"


class StockMovement(models.Model):
    """One line of the ledger: append-only, at most one of a kind per reservation (a reservation is an order's id)."""

    class Kind(models.TextChoices):
        ALLOCATE = "allocate"
        ADJUST = "adjust"
        RESERVE = "reserve"
        SELL = "sell"
        RELEASE = "release"
        RETURN = "return"  # sold units that are on sale again

    item = models.ForeignKey(SaleItem, on_delete=models.PROTECT, related_name="movements", db_index=False)
    kind = models.CharField(max_length=8, choices=Kind.choices)
    units = models.IntegerField(help_text="Positive, except for an adjustment that takes units away.")
    reservation_id = models.UUIDField(null=True, blank=True)
    actor = models.CharField(max_length=150, blank=True, help_text="The member of staff, for what staff did.")
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
