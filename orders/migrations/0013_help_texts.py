from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0012_history_in_the_order"),
    ]

    operations = [
        migrations.AlterField(
            model_name="intake",
            name="failures",
            field=models.PositiveSmallIntegerField(db_default=0, help_text="Number of failed attempts to create the order."),
        ),
        migrations.AlterField(
            model_name="intake",
            name="payload",
            field=models.JSONField(help_text="The order as admitted (inventory.admission.admitted.AdmittedOrder)."),
        ),
        migrations.AlterField(
            model_name="intake",
            name="reason",
            field=models.CharField(
                blank=True,
                help_text="Why no units could be reserved for the order. Empty if they were reserved.",
                max_length=64,
            ),
        ),
        migrations.AlterField(
            model_name="intake",
            name="retry_at",
            field=models.DateTimeField(help_text="Sweeps do not retry before this time.", null=True),
        ),
        migrations.AlterField(
            model_name="order",
            name="digest",
            field=models.CharField(help_text="SHA-256 digest of the request that placed the order.", max_length=64),
        ),
        migrations.AlterField(
            model_name="order",
            name="limit_version",
            field=models.PositiveBigIntegerField(
                help_text="Version of the item's terms that set the limit per customer. Empty if the gate did not record it.",
                null=True,
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="reason",
            field=models.CharField(blank=True, help_text="Why the order was rejected, cancelled or refunded.", max_length=64),
        ),
        migrations.AlterField(
            model_name="order",
            name="steps",
            field=models.JSONField(
                db_default=[], help_text="History of the order: status, reason, actor and time of each step."
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="terms_version",
            field=models.PositiveBigIntegerField(
                help_text="Version of the item's terms that set the price. Empty if the gate did not record it.", null=True
            ),
        ),
    ]
