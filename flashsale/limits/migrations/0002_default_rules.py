from django.db import migrations

from flashsale.limits.defaults import default_rules


def add(apps, schema_editor):
    model = apps.get_model("limits", "LimitRule")
    model.objects.bulk_create([model(**fields) for fields in default_rules()], ignore_conflicts=True)


class Migration(migrations.Migration):
    dependencies = [("limits", "0001_rules")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
