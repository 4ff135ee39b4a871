"""The history moves into the order's row: one row version less for each step.

What was ``orders_orderevent`` is a view of both, the lines of old orders and the steps of new ones. A release that still writes
lines writes them through the view.
"""

import django.db.models.functions.datetime
from django.db import migrations, models

# Lines of an order are in the order of their ids. The moment of admission is by another server's clock: it comes first, always.
_ID = "(extract(epoch FROM {at}) * 1000000)::bigint - CASE {status} WHEN 'queued' THEN 86400000000 ELSE 0 END"
_VIEW = f"""
ALTER TABLE orders_orderevent RENAME TO orders_eventline;
CREATE VIEW orders_orderevent AS
    SELECT {_ID.format(at="at", status="status")} AS id, order_id, status, reason, actor, at FROM orders_eventline
    UNION ALL
    SELECT {_ID.format(at="(s.step ->> 'at')::timestamptz", status="s.step ->> 'status'")}, o.id,
        (s.step ->> 'status')::varchar(16), coalesce(s.step ->> 'reason', '')::varchar(64),
        coalesce(s.step ->> 'actor', '')::varchar(150), (s.step ->> 'at')::timestamptz
    FROM orders_order o CROSS JOIN LATERAL jsonb_array_elements(o.steps) s(step);
CREATE FUNCTION orders_event_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO orders_eventline (order_id, status, reason, actor, at)
            VALUES (NEW.order_id, NEW.status, NEW.reason, NEW.actor, coalesce(NEW.at, now()));
        RETURN NEW;
    END IF;
    -- Steps go with their order.
    DELETE FROM orders_eventline WHERE order_id = OLD.order_id AND at = OLD.at AND status = OLD.status;
    RETURN OLD;
END $$;
CREATE TRIGGER orders_event_written INSTEAD OF INSERT OR DELETE ON orders_orderevent
    FOR EACH ROW EXECUTE FUNCTION orders_event_written();
"""  # noqa: S608 - constants of ours
_BACK = """
INSERT INTO orders_eventline (order_id, status, reason, actor, at)
    SELECT o.id, s.step ->> 'status', coalesce(s.step ->> 'reason', ''), coalesce(s.step ->> 'actor', ''),
        (s.step ->> 'at')::timestamptz
    FROM orders_order o CROSS JOIN LATERAL jsonb_array_elements(o.steps) WITH ORDINALITY s(step, n) ORDER BY o.id, s.n;
DROP VIEW orders_orderevent;
DROP FUNCTION orders_event_written();
ALTER TABLE orders_eventline RENAME TO orders_orderevent;
"""
_STATUS = [
    ("queued", "Queued"),
    ("reserved", "Reserved"),
    ("pending_payment", "Pending Payment"),
    ("paid", "Paid"),
    ("refunded", "Refunded"),
    ("cancelled", "Cancelled"),
    ("rejected", "Rejected"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("orders", "0011_effects_by_batch"),
    ]

    operations = [
        migrations.AddField(
            model_name="order",
            name="steps",
            field=models.JSONField(db_default=[], help_text="Its history: status, reason, actor, at of each step."),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(_VIEW, _BACK)],
            state_operations=[
                migrations.RemoveIndex(model_name="orderevent", name="event_by_order"),
                migrations.AlterModelOptions(name="orderevent", options={"managed": False, "ordering": ["id"]}),
                migrations.CreateModel(
                    name="EventLine",
                    fields=[
                        ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                        ("order_id", models.UUIDField()),
                        ("status", models.CharField(choices=_STATUS, max_length=16)),
                        ("reason", models.CharField(blank=True, max_length=64)),
                        ("actor", models.CharField(blank=True, max_length=150)),
                        ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ],
                    options={"indexes": [models.Index(fields=["order_id", "id"], name="event_by_order")]},
                ),
            ],
        ),
    ]
