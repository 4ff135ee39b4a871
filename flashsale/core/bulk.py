"""Insert many rows with one statement and one parameter."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection, models


def insert(
    model: type[models.Model],
    rows: Sequence[Mapping[str, Any]],
    *,
    on_conflict: str = "ON CONFLICT DO NOTHING",
    returning: Sequence[str] = ("id",),
    only: str = "true",
    before: str = "",
) -> list[tuple[Any, ...]]:
    """Insert rows and return those that were inserted.

    Args:
        rows: field name (``_id`` for foreign keys) -> value. All rows have the same fields.
        on_conflict: the ON CONFLICT clause.
        returning: the columns to return.
        only: a condition on ``rows``; those that do not meet it are not inserted.
        before: a statement that ends with a semicolon, sent in the same trip.
    """
    if not rows:
        return []
    fields = [_field(model, name) for name in rows[0]]
    columns = ", ".join(f'"{field.column}"' for field in fields)
    types = ", ".join(
        f'"{field.column}" {field.rel_db_type(connection) if field.is_relation else _type(field)}' for field in fields
    )
    values = json.dumps(
        [{field.column: row[name] for field, name in zip(fields, row, strict=True)} for row in rows],
        default=str,
    )
    statement = (
        f'{before}INSERT INTO "{model._meta.db_table}" ({columns}) '  # noqa: S608 - names come from models
        f"SELECT {columns} FROM jsonb_to_recordset(%s::jsonb) AS rows({types}) WHERE {only} {on_conflict} "
        f"RETURNING {', '.join(returning)}"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [values])
        return list(cursor.fetchall())


def _field(model: type[models.Model], name: str) -> "models.Field[Any, Any]":
    return next(field for field in model._meta.concrete_fields if name in (field.name, field.attname))


def _type(field: "models.Field[Any, Any]") -> str:
    kind = field.db_type(connection)
    assert kind is not None, field
    return kind
