from django.db import migrations

FUNCTION = """
CREATE FUNCTION account_name(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
AS $$ SELECT lower(normalize($1, NFKC) COLLATE "pg_c_utf8") COLLATE "C" $$
"""
DOUBLES = """
SELECT string_agg(format('%s (id %s)', username, id), ', ' ORDER BY id)
FROM auth_user GROUP BY account_name(username) HAVING count(*) > 1 LIMIT 10
"""
ADVICE = """User names are one regardless of case from now on, but these accounts differ in nothing else: {}.
Nothing was changed. Give all but one of each another name, for instance with
  UPDATE auth_user SET username = 'another name' WHERE id = ...;
and run migrate again."""
INDEX = "CREATE UNIQUE INDEX one_account_per_name ON auth_user (account_name(username))"


class SeveralAccountsWithOneName(Exception):
    """Accounts differ in nothing but the case or form of their letters; the message says what to do."""


def refuse_doubles(apps, editor):
    with editor.connection.cursor() as cursor:
        cursor.execute(DOUBLES)
        doubles = [names for (names,) in cursor.fetchall()]
    if doubles:
        raise SeveralAccountsWithOneName(ADVICE.format("; ".join(doubles)))


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_revocations")]

    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION account_name(text)"),
        migrations.RunPython(refuse_doubles, migrations.RunPython.noop),
        migrations.RunSQL(INDEX, "DROP INDEX one_account_per_name"),
    ]
