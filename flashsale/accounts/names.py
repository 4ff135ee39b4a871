"""User names are unique regardless of case and Unicode compatibility forms: ``bot``, ``Bot`` and full-width ``ｂｏｔ``.

The index ``one_account_per_name`` enforces this with PostgreSQL's function ``account_name``.
"""

from collections.abc import Collection
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import CharField, F, Func, QuerySet, Value


class _Name(Func):
    function = "account_name"
    output_field = CharField()


def named(names: Collection[str]) -> "QuerySet[Any]":
    """Accounts with one of these names."""
    accounts = get_user_model().objects.alias(one_name=_Name(F("username")))
    return accounts.filter(one_name__in=[_Name(Value(name)) for name in names])


def find(name: str) -> Any | None:
    """The account with this name, or None."""
    return None if "\0" in name else named([name]).first()


def is_taken(name: str, *, but_by: int | None = None) -> bool:
    """Whether another account has this name."""
    return bool(named([name]).exclude(pk=but_by).exists())
