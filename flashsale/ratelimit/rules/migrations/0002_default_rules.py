"""The rules of a new installation, as they were when this migration was written: later defaults come by later migrations."""

from django.db import migrations

RULES = [
    {"name": "api-address", "applies_to": "api", "key": "address", "algorithm": "token_bucket", "rate": 3000, "burst": 6000},
    {"name": "api-customer", "applies_to": "api", "key": "customer", "algorithm": "token_bucket", "rate": 100, "burst": 300},
    {
        "name": "sign-in-address",
        "applies_to": "api:auth-token",
        "key": "address",
        "algorithm": "sliding_counter",
        "rate": 600,
        "window_ms": 60000,
        "sub_rate": 60,
        "sub_window_ms": 1000,
        "on_failure": "share",
    },
    {
        "name": "admission-item",
        "applies_to": "admission",
        "key": "item",
        "algorithm": "token_bucket",
        "rate": 5000,
        "burst": 10000,
    },
    {
        "name": "gateway-address",
        "applies_to": "gateway",
        "key": "address",
        "algorithm": "token_bucket",
        "rate": 3000,
        "burst": 6000,
    },
    {
        "name": "produce-inventory",
        "applies_to": "produce:inventory",
        "key": "all",
        "algorithm": "token_bucket",
        "rate": 20000,
        "burst": 4000,
    },
    {
        "name": "produce-orders",
        "applies_to": "produce:orders",
        "key": "all",
        "algorithm": "token_bucket",
        "rate": 20000,
        "burst": 4000,
    },
    {
        "name": "produce-payments",
        "applies_to": "produce:payments",
        "key": "all",
        "algorithm": "token_bucket",
        "rate": 1000,
        "burst": 2000,
        "on_failure": "share",
    },
    {
        "name": "produce-cancellations",
        "applies_to": "produce:cancellations",
        "key": "all",
        "algorithm": "token_bucket",
        "rate": 1000,
        "burst": 2000,
        "on_failure": "share",
    },
    {
        "name": "consume-dispatch",
        "applies_to": "consume:dispatch",
        "key": "all",
        "algorithm": "leaky_bucket",
        "rate": 20000,
        "max_wait_ms": 1000,
        "on_limit": "queue",
    },
    {
        "name": "consume-inventory",
        "applies_to": "consume:inventory",
        "key": "all",
        "algorithm": "leaky_bucket",
        "rate": 20000,
        "max_wait_ms": 1000,
        "on_limit": "queue",
    },
    {
        "name": "consume-orders",
        "applies_to": "consume:orders",
        "key": "all",
        "algorithm": "leaky_bucket",
        "rate": 20000,
        "max_wait_ms": 1000,
        "on_limit": "queue",
    },
    {
        "name": "consume-payments",
        "applies_to": "consume:payments",
        "key": "all",
        "algorithm": "leaky_bucket",
        "rate": 20000,
        "max_wait_ms": 1000,
        "on_limit": "queue",
    },
    {
        "name": "consume-cancellations",
        "applies_to": "consume:cancellations",
        "key": "all",
        "algorithm": "leaky_bucket",
        "rate": 20000,
        "max_wait_ms": 1000,
        "on_limit": "queue",
    },
]


def add(apps, schema_editor):
    model = apps.get_model("limits", "LimitRule")
    model.objects.bulk_create([model(**fields) for fields in RULES], ignore_conflicts=True)


class Migration(migrations.Migration):
    dependencies = [("limits", "0001_rules")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
