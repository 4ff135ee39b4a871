"""Form validation of user names in the admin."""

from typing import Any

from django import forms

from flashsale.accounts import names


class OneName(forms.ModelForm):  # type: ignore[type-arg]
    """Mixin for user forms. Reports a name that is taken in another case, instead of a database error."""

    def clean_username(self) -> Any:
        """
        Raises:
            ValidationError: another account has this name, ignoring case.
        """
        name = self.cleaned_data.get("username")
        if name and names.is_taken(name, but_by=self.instance.pk):
            raise forms.ValidationError("Another account has this name. Names are not case-sensitive.")
        return name
