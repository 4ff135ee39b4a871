import datetime

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("inventory", "0010_returned_units"),
    ]

    operations = [
        migrations.AlterField(
            model_name="product",
            name="sku",
            field=models.CharField(
                max_length=64,
                unique=True,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[A-Za-z0-9][A-Za-z0-9._-]*\\Z", "Use letters, digits and . _ -, starting with a letter or digit."
                    )
                ],
            ),
        ),
        migrations.AlterField(
            model_name="sale",
            name="payment_window",
            field=models.DurationField(help_text="Unpaid orders are cancelled after this time."),
        ),
        migrations.AlterField(
            model_name="sale",
            name="waiting_room_rate",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="Customers called up per second. Leave empty for no waiting room.",
                null=True,
                validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(10000)],
                verbose_name="waiting room (customers/s)",
            ),
        ),
        migrations.AlterField(
            model_name="stockmovement",
            name="actor",
            field=models.CharField(blank=True, help_text="The staff user, if staff made the change.", max_length=150),
        ),
        migrations.AlterField(
            model_name="stockmovement",
            name="units",
            field=models.IntegerField(help_text="Positive, except for adjustments that remove units."),
        ),
        migrations.AlterField(
            model_name="terms",
            name="version",
            field=models.PositiveBigIntegerField(help_text="The item's terms_version while these terms applied."),
        ),
        migrations.AlterConstraint(
            model_name="sale",
            name="sale_closes_after_it_opens",
            constraint=models.CheckConstraint(
                condition=models.Q(("closes_at__gt", models.F("opens_at"))),
                name="sale_closes_after_it_opens",
                violation_error_message="The closing time must be after the opening time.",
            ),
        ),
        migrations.AlterConstraint(
            model_name="sale",
            name="sale_times_within_reach",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("closes_at__lte", datetime.datetime(2100, 1, 1, 0, 0, tzinfo=datetime.UTC)),
                    ("opens_at__gte", datetime.datetime(2000, 1, 1, 0, 0, tzinfo=datetime.UTC)),
                ),
                name="sale_times_within_reach",
                violation_error_message="The times of a sale must be in the years 2000 to 2099 (UTC).",
            ),
        ),
        migrations.AlterConstraint(
            model_name="sale",
            name="sale_payment_window_within_reach",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("payment_window__gt", datetime.timedelta(0)), ("payment_window__lte", datetime.timedelta(days=30))
                ),
                name="sale_payment_window_within_reach",
                violation_error_message="The payment window must be longer than 0 and at most 30 days.",
            ),
        ),
    ]
