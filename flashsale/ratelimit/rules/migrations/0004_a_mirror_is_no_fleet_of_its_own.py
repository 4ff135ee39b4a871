from django.db import migrations, models


def to_canary(apps, schema_editor):  # type: ignore[no-untyped-def]
    apps.get_model("limits", "LimitRule").objects.filter(fleet="mirror").update(fleet="canary", enabled=False)


class Migration(migrations.Migration):
    dependencies = [
        ("limits", "0003_more_endpoints"),
    ]

    operations = [
        migrations.RunPython(to_canary, migrations.RunPython.noop),
        migrations.AlterField(
            model_name="limitrule",
            name="fleet",
            field=models.CharField(
                choices=[("all", "All"), ("main", "Main"), ("canary", "Canary")], default="all", max_length=8
            ),
        ),
    ]
