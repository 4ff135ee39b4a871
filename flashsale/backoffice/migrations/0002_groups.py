"""Groups for staff. Permissions are made here where `migrate` has not made them yet: it does so after the last migration."""

from django.db import migrations

SEEN = {
    "inventory": ("product", "sale", "saleitem", "stockmovement"),
    "orders": ("order", "orderevent"),
    "payments": ("payment", "refund", "providerevent"),
    "tasks": ("deadletter", "gatemend"),
    "limits": ("limitrule", "rulechange"),
    "auth": ("user", "group"),
}
VIEWER = [(app, model, f"view_{model}") for app, models in SEEN.items() for model in models]
OPERATOR = [
    *VIEWER,
    ("inventory", "sale", "operate_sale"),
    ("inventory", "saleitem", "operate_saleitem"),
    ("tasks", "deadletter", "operate_deadletter"),
    ("orders", "order", "cancel_order"),
]
MANAGER = [
    *OPERATOR,
    *(
        (app, model, f"{verb}_{model}")
        for app, model in (
            ("inventory", "product"),
            ("inventory", "sale"),
            ("inventory", "saleitem"),
            ("limits", "limitrule"),
        )
        for verb in ("add", "change", "delete")
    ),
    ("inventory", "saleitem", "adjust_saleitem"),
    ("orders", "order", "refund_order"),
]
NAMES = {
    "operate_sale": "Can pause, resume, end and reconcile sales",
    "operate_saleitem": "Can compare and rebuild gates",
    "adjust_saleitem": "Can adjust stock",
    "operate_deadletter": "Can run again and reject what dead letters hold",
    "cancel_order": "Can cancel orders",
    "refund_order": "Can refund orders",
}


def permission(apps, app, model, codename):
    """The permission, made where it is missing, under the name that Django would give it."""
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.get_or_create(app_label=app, model=model)
    verb = codename.partition("_")[0]
    name = NAMES.get(codename, f"Can {verb} {VERBOSE.get(model, model)}")
    found, _ = apps.get_model("auth", "Permission").objects.get_or_create(
        content_type=kind, codename=codename, defaults={"name": name}
    )
    return found


VERBOSE = {
    "saleitem": "sale item",
    "stockmovement": "stock movement",
    "orderevent": "order event",
    "providerevent": "provider event",
    "deadletter": "dead letter",
    "gatemend": "gate mend",
    "limitrule": "limit rule",
    "rulechange": "rule change",
}


def make(apps, schema_editor):
    """The groups; and who could refund and cancel by `change_order` can still."""
    groups = apps.get_model("auth", "Group").objects
    for name, wanted in (("viewer", VIEWER), ("operator", OPERATOR), ("manager", MANAGER)):
        group, _ = groups.get_or_create(name=name)
        group.permissions.add(*(permission(apps, *each) for each in wanted))
    kept = [permission(apps, "orders", "order", codename) for codename in ("cancel_order", "refund_order")]
    before = permission(apps, "orders", "order", "change_order")
    for group in groups.filter(permissions=before):
        group.permissions.add(*kept)
    for user in apps.get_model("auth", "User").objects.filter(user_permissions=before):
        user.user_permissions.add(*kept)


class Migration(migrations.Migration):
    dependencies = [
        ("backoffice", "0001_sent_forms"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("inventory", "0007_staff_permissions"),
        ("orders", "0007_staff_permissions"),
        ("payments", "0001_initial"),
        ("tasks", "0003_staff_permissions"),
        ("limits", "0002_default_rules"),
    ]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
