import django.db.models.deletion
from django.db import migrations, models
from django.db.models.functions import Now

# The columns of price are named in no trigger definition: PostgreSQL changes no type of a column that is.
FORWARD = """
CREATE FUNCTION number_item_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.terms_version := OLD.terms_version;
  NEW.gate_version := greatest(NEW.gate_version, OLD.gate_version);
  IF (NEW.price, NEW.currency, NEW.per_customer) IS DISTINCT FROM (OLD.price, OLD.currency, OLD.per_customer) THEN
    NEW.terms_version := OLD.terms_version + 1;
    NEW.gate_version := NEW.gate_version + 1;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER item_terms_are_numbered BEFORE UPDATE ON inventory_saleitem
  FOR EACH ROW EXECUTE FUNCTION number_item_terms();

CREATE FUNCTION record_item_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO inventory_terms (item_id, version, price, currency, per_customer)
  VALUES (NEW.id, NEW.terms_version, NEW.price, NEW.currency, NEW.per_customer);
  RETURN NULL;
END $$;
CREATE TRIGGER first_item_terms_are_recorded AFTER INSERT ON inventory_saleitem
  FOR EACH ROW EXECUTE FUNCTION record_item_terms();
CREATE TRIGGER new_item_terms_are_recorded AFTER UPDATE ON inventory_saleitem
  FOR EACH ROW WHEN (OLD.terms_version IS DISTINCT FROM NEW.terms_version) EXECUTE FUNCTION record_item_terms();

CREATE FUNCTION forget_item_terms() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM inventory_terms WHERE item_id = OLD.id;
  RETURN NULL;
END $$;
CREATE TRIGGER terms_go_with_their_item AFTER DELETE ON inventory_saleitem
  FOR EACH ROW EXECUTE FUNCTION forget_item_terms();

CREATE FUNCTION refuse_terms_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' OR EXISTS (SELECT FROM inventory_saleitem WHERE id = OLD.item_id) THEN
    RAISE EXCEPTION 'terms are append-only' USING ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN OLD;
END $$;
CREATE TRIGGER terms_are_append_only BEFORE UPDATE OR DELETE ON inventory_terms
  FOR EACH ROW EXECUTE FUNCTION refuse_terms_change();

INSERT INTO inventory_terms (item_id, version, price, currency, per_customer)
SELECT id, terms_version, price, currency, per_customer FROM inventory_saleitem;
"""
BACKWARD = """
DROP TRIGGER item_terms_are_numbered ON inventory_saleitem;
DROP TRIGGER first_item_terms_are_recorded ON inventory_saleitem;
DROP TRIGGER new_item_terms_are_recorded ON inventory_saleitem;
DROP TRIGGER terms_go_with_their_item ON inventory_saleitem;
DROP TRIGGER terms_are_append_only ON inventory_terms;
DROP FUNCTION number_item_terms();
DROP FUNCTION record_item_terms();
DROP FUNCTION forget_item_terms();
DROP FUNCTION refuse_terms_change();
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0004_gate_life")]
    operations = [
        migrations.AddField(
            model_name="saleitem",
            name="terms_version",
            field=models.PositiveBigIntegerField(db_default=1, default=1, editable=False),
        ),
        migrations.CreateModel(
            name="Terms",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("version", models.PositiveBigIntegerField(help_text="The item's terms_version while these were in force.")),
                ("price", models.DecimalField(decimal_places=4, max_digits=19)),
                ("currency", models.CharField(max_length=3)),
                ("per_customer", models.PositiveIntegerField()),
                ("created_at", models.DateTimeField(db_default=Now())),
                (
                    "item",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="terms",
                        to="inventory.saleitem",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("item", "version"), name="terms_once_per_item_and_version")]
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
