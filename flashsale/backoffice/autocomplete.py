"""Autocomplete fields that accept any input."""

from typing import Any

from django.contrib.admin.options import BaseModelAdmin
from django.contrib.admin.widgets import AutocompleteSelect
from django.http import HttpRequest

from flashsale.backoffice.selection import can_be


class _Found(AutocompleteSelect):
    """Django's widget, except that a value which is not a valid key selects nothing instead of causing a 500."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        """The selected options."""
        key = self.field.remote_field.model._meta.pk
        return super().optgroups(name, [each for each in value if not each or can_be(str(each), key)], attr)


class CheckedAutocomplete(BaseModelAdmin):  # type: ignore[type-arg]
    """Mixin for admins and inlines with ``autocomplete_fields``."""

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        """Use a widget that accepts any value."""
        if db_field.name in self.get_autocomplete_fields(request) and "widget" not in options:
            options["widget"] = _Found(db_field, self.admin_site, using=options.get("using"))
        return super().formfield_for_foreignkey(db_field, request, **options)
