"""The accounts of staff and customers."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from flashsale.accounts.actions import SignOutEverywhere
from flashsale.accounts.forms import OneName
from flashsale.backoffice.accounts import GuardedAccounts, GuardedGroups
from flashsale.backoffice.staff_admin import StaffAdmin

admin.site.unregister(User)
admin.site.unregister(Group)


class _UserForm(OneName, UserChangeForm):
    pass


class _NewUserForm(OneName, UserCreationForm):
    pass


@admin.register(User)
class UserAdmin(SignOutEverywhere, GuardedAccounts, DjangoUserAdmin, StaffAdmin):  # type: ignore[type-arg, misc]
    form = _UserForm
    add_form = _NewUserForm
    change_password_form = AdminPasswordChangeForm
    actions = ("sign_out_everywhere",)


@admin.register(Group)
class GroupAdmin(GuardedGroups, DjangoGroupAdmin, StaffAdmin):
    pass
