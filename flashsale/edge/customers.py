"""Many customers at once, for load tools."""

from collections.abc import Iterator

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from rest_framework_simplejwt.tokens import AccessToken

_CHUNK = 2_000


def issue(prefix: str, count: int) -> Iterator[tuple[str, str]]:
    """``count`` customers named ``<prefix><number>``, made where they are missing, with an access token for each."""
    model = get_user_model()
    unusable = make_password(None)
    for start in range(0, count, _CHUNK):
        names = [f"{prefix}{number}" for number in range(start, min(start + _CHUNK, count))]
        model.objects.bulk_create([model(username=name, password=unusable) for name in names], ignore_conflicts=True)
        users = {user.username: user for user in model.objects.filter(username__in=names)}
        for name in names:
            yield name, str(AccessToken.for_user(users[name]))
