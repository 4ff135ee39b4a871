"""Refuse a form if another user has saved the row since the form was opened, and show what has changed.

The page contains the signed original values. They are compared with the current ones under a lock.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from django import forms
from django.contrib.admin import ModelAdmin
from django.core import signing
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import transaction
from django.db.models import Field, ManyToManyField, Model
from django.http import HttpRequest, HttpResponse

FIELD = "_version"
_SALT = "flashsale.backoffice.versions"
_SHOWN = 80  # maximum characters of a value; longer values are shortened and get a digest
_NEVER_SHOWN = frozenset({"password"})
_NOT_TYPED = frozenset({"last_login", "date_joined"})
_UNREADABLE = "This form has expired. Nothing was saved. Reload the page."


class VersionGuard(ModelAdmin):  # type: ignore[type-arg]
    """Mixin for admins whose rows may be edited concurrently. Compares the fields of the form and of its inlines."""

    change_form_before_template = "backoffice/version.html"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Compare before the form is processed, and keep the rows locked until it is saved."""
        if object_id is None:
            return super().changeform_view(request, object_id, form_url, extra_context)
        with transaction.atomic():
            row = self.get_object(request, object_id)
            if row is None or not self.has_view_or_change_permission(request, row):
                return super().changeform_view(request, object_id, form_url, extra_context)
            is_sent = request.method == "POST" and self.has_change_permission(request, row)
            if is_sent:
                self._lock(request, row)
                row = self.get_object(request, object_id) or row
            found = self._values(request, row)
            if is_sent and FIELD in request.POST:
                request.stale = _difference(request.POST[FIELD], row, found)  # type: ignore[attr-defined]
            version = signing.dumps([_name(row), found], salt=_SALT, compress=True)
            context = (extra_context or {}) | {"form_version": version, "version_field": FIELD}
            return super().changeform_view(request, object_id, form_url, context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:
        """The form. If the row has changed since, the form is invalid."""
        form = super().get_form(request, obj, change=change, **options)
        stale = getattr(request, "stale", "")
        return _refusing(form, stale) if stale and obj is not None else form

    def _lock(self, request: HttpRequest, row: Model) -> None:
        """Lock the rows of each table in key order, like the pipeline does."""
        _locked(self.model, [row.pk])
        for inline in self.get_inline_instances(request, row):
            _locked(inline.model, self._rows_of(inline, request, row).values_list("pk", flat=True))

    def _values(self, request: HttpRequest, row: Model) -> dict[str, str]:
        """The values in the form: label -> value."""
        form = super().get_form(request, row, change=True)
        found = dict(_shown(row, form.base_fields))
        for inline in self.get_inline_instances(request, row):
            if not inline.has_change_permission(request, row):
                continue
            fields = inline.get_formset(request, row).form.base_fields
            for each in self._rows_of(inline, request, row).order_by("pk"):
                found |= {f"{inline.opts.verbose_name} {each.pk}, {label}": value for label, value in _shown(each, fields)}
        return found

    @staticmethod
    def _rows_of(inline: Any, request: HttpRequest, row: Model) -> Any:
        key = next(field for field in inline.model._meta.fields if field.is_relation and field.related_model is type(row))
        return inline.get_queryset(request).filter(**{key.name: row})


def _locked(model: type[Model], keys: Iterable[Any]) -> None:
    rows = model._default_manager.filter(pk__in=list(keys)).order_by("pk")
    list(rows.select_for_update(no_key=True).values_list("pk", flat=True))


def _name(row: Model) -> str:
    return f"{row._meta.label} {row.pk}"


def _shown(row: Model, names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        try:
            field = row._meta.get_field(name)
        except FieldDoesNotExist:
            continue
        if isinstance(field, Field) and name not in _NOT_TYPED:
            text = _text(row, field)
            yield str(field.verbose_name), _digest(text) if name in _NEVER_SHOWN else text


def _text(row: Model, field: "Field[Any, Any]") -> str:
    if isinstance(field, ManyToManyField):
        return ", ".join(sorted(str(each) for each in getattr(row, field.name).all()))[:4_000]
    value = field.value_from_object(row)
    text = "" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({_digest(text)})"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12]


def _difference(sent: str, row: Model, found: dict[str, str]) -> str:
    """What has changed since the form was opened, as a text. Empty if nothing."""
    try:
        name, before = signing.loads(sent, salt=_SALT)
    except (signing.BadSignature, ValueError, TypeError):
        return _UNREADABLE
    if name != _name(row):
        return _UNREADABLE
    if before == found:
        return ""
    changes = [
        f"{label}: {before.get(label, 'none') or 'empty'} → {found.get(label, 'none') or 'empty'}"
        for label in before | found
        if before.get(label) != found.get(label)
    ]
    return (
        "Another user has saved this since you opened it. Your changes were not saved. Changed in the meantime: "
        f"{'; '.join(changes[:10])}. Reload the page, or save again to overwrite these values with yours."
    )


def _refusing(form: type[forms.BaseForm], reason: str) -> type[forms.BaseForm]:
    class Stale(form):  # type: ignore[valid-type, misc]
        def clean(self) -> Any:
            super().clean()
            raise ValidationError(reason, code="stale")

    return Stale
