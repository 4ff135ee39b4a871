import uuid

import django.db.models.functions.datetime
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION end_credentials() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO accounts_revocation (user_id, session, at, is_published) VALUES (OLD.id, '', clock_timestamp(), false);
  RETURN NULL;
END $$;
CREATE TRIGGER credentials_end_with_the_account AFTER DELETE ON auth_user FOR EACH ROW EXECUTE FUNCTION end_credentials();
CREATE TRIGGER credentials_end_with_a_change AFTER UPDATE ON auth_user FOR EACH ROW WHEN (
  (OLD.is_active AND NOT NEW.is_active) OR OLD.password IS DISTINCT FROM NEW.password
  OR (OLD.is_staff AND NOT NEW.is_staff) OR (OLD.is_superuser AND NOT NEW.is_superuser)
) EXECUTE FUNCTION end_credentials();
"""
BACKWARD = """
DROP TRIGGER credentials_end_with_a_change ON auth_user;
DROP TRIGGER credentials_end_with_the_account ON auth_user;
DROP FUNCTION end_credentials();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [("auth", "0012_alter_user_first_name_max_length")]

    operations = [
        migrations.CreateModel(
            name="Revocation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("user_id", models.BigIntegerField(null=True)),
                ("session", models.CharField(blank=True, max_length=36)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("is_published", models.BooleanField(db_default=False, default=False)),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("user_id__isnull", False)), fields=["user_id", "at"], name="revocation_of_user"
                    ),
                    models.Index(condition=models.Q(("is_published", False)), fields=["id"], name="revocation_unpublished"),
                    models.Index(fields=["at"], name="revocation_by_age"),
                ],
            },
        ),
        migrations.CreateModel(
            name="TokenFamily",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("user_id", models.BigIntegerField()),
                ("current", models.CharField(help_text="The jti of the token that may be used.", max_length=36)),
                ("previous", models.CharField(blank=True, help_text="The jti it replaced.", max_length=36)),
                ("rotated_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("expires_at", models.DateTimeField(db_index=True)),
                ("revoked_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
