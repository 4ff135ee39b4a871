from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("orders", "0005_intake_backoff"), ("inventory", "0005_terms")]
    operations = [
        migrations.AddField(
            model_name="order",
            name="terms_version",
            field=models.PositiveBigIntegerField(
                help_text="Of the item's terms that the price is of; empty where the gate did not know.", null=True
            ),
        ),
        migrations.AddField(
            model_name="order",
            name="limit_version",
            field=models.PositiveBigIntegerField(
                help_text="Of the terms whose limit per customer it was admitted under; empty where the gate did not know.",
                null=True,
            ),
        ),
    ]
