"""The part of the staff's forms that keeps names apart."""

from typing import Any

from django import forms

from flashsale.accounts import names


class OneName(forms.ModelForm):  # type: ignore[type-arg]
    """Goes before a form of users: says that a name is taken in other letters, where the database would fail."""

    def clean_username(self) -> Any:
        """
        Raises:
            ValidationError: another account has this name, in these letters or others.
        """
        name = self.cleaned_data.get("username")
        if name and names.is_taken(name, but_by=self.instance.pk):
            raise forms.ValidationError("Another account has this name; capital and small letters are the same here.")
        return name
