from django.db import migrations, models

# One address: one sign-in a second, twenty at once. A check costs half a second of a core, so this is half a core; a crowd behind
# one address signs in before the sale, and its sessions last a week.
ADDRESS = {"algorithm": "token_bucket", "rate": 60, "window_ms": 60_000, "burst": 20, "sub_rate": 0, "sub_window_ms": 0}
ADDRESS_BEFORE = {
    "applies_to": "api:auth-token",
    "key": "address",
    "algorithm": "sliding_counter",
    "rate": 600,
    "window_ms": 60_000,
    "burst": 0,
    "sub_rate": 60,
    "sub_window_ms": 1_000,
}
# One name, whether there is such an account or not: guesses at one password, from however many addresses.
ACCOUNT = {
    "applies_to": "api:auth-token",
    "key": "account",
    "algorithm": "sliding_counter",
    "rate": 10,
    "window_ms": 60_000,
    "on_failure": "share",
}


def tighten(apps, editor):
    rules = apps.get_model("limits", "LimitRule").objects
    rules.filter(name="sign-in-address", **ADDRESS_BEFORE).update(**ADDRESS)
    rules.get_or_create(name="sign-in-account", defaults=ACCOUNT)


def loosen(apps, editor):
    rules = apps.get_model("limits", "LimitRule").objects
    rules.filter(name="sign-in-address", **ADDRESS).update(**ADDRESS_BEFORE)
    rules.filter(name="sign-in-account").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("limits", "0004_a_mirror_is_no_fleet_of_its_own"),
    ]

    operations = [
        migrations.AlterField(
            model_name="limitrule",
            name="applies_to",
            field=models.CharField(
                choices=[
                    ("api", "every API endpoint"),
                    ("api:auth-token", "API endpoint auth-token"),
                    ("api:sales", "API endpoint sales"),
                    ("api:sale", "API endpoint sale"),
                    ("api:purchase-tokens", "API endpoint purchase-tokens"),
                    ("api:waiting-room", "API endpoint waiting-room"),
                    ("api:orders", "API endpoint orders"),
                    ("api:order", "API endpoint order"),
                    ("api:order-pay", "API endpoint order-pay"),
                    ("api:order-cancel", "API endpoint order-cancel"),
                    ("api:auth-token-refresh", "API endpoint auth-token-refresh"),
                    ("api:auth-token-revoke", "API endpoint auth-token-revoke"),
                    ("api:webhook", "API endpoint webhook"),
                    ("api:schema", "API endpoint schema"),
                    ("api:docs", "API endpoint docs"),
                    ("admission", "the admission of orders, in the gate's script"),
                    ("gateway", "the gateway, through the rate-limit service"),
                    ("produce:dispatch", "producers of queue dispatch"),
                    ("produce:inventory", "producers of queue inventory"),
                    ("produce:orders", "producers of queue orders"),
                    ("produce:payments", "producers of queue payments"),
                    ("produce:cancellations", "producers of queue cancellations"),
                    ("consume:dispatch", "consumers of queue dispatch, over all workers"),
                    ("consume:inventory", "consumers of queue inventory, over all workers"),
                    ("consume:orders", "consumers of queue orders, over all workers"),
                    ("consume:payments", "consumers of queue payments, over all workers"),
                    ("consume:cancellations", "consumers of queue cancellations, over all workers"),
                ],
                max_length=40,
            ),
        ),
        migrations.AlterField(
            model_name="limitrule",
            name="key",
            field=models.CharField(
                choices=[
                    ("all", "everybody together"),
                    ("address", "each client address"),
                    ("customer", "each customer"),
                    ("item", "each item"),
                    ("account", "each account name, at the sign-in"),
                ],
                max_length=8,
            ),
        ),
        migrations.RunPython(tighten, loosen),
    ]
