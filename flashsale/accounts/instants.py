"""Times of issue of credentials. They use PostgreSQL's clock, like revocations, so that no two clocks are compared."""

from django.contrib.auth import get_user_model
from django.db import connection

from flashsale.accounts.errors import AccountEnded

_NOW_US = """
SELECT (extract(epoch FROM greatest(clock_timestamp(), max(at) + interval '1 microsecond')) * 1000000)::bigint
FROM accounts_revocation WHERE user_id = %s
"""


def issue_us(user_id: int, *, password: str | None = None) -> int:
    """The time of issue for a new credential, in microseconds since 1970. Later than every revocation so far.

    Inside a transaction the account stays locked until its end, so that a concurrent block comes before or after this time.

    Args:
        password: the stored hash that was checked at sign-in; None if no password was checked.

    Raises:
        AccountEnded: the account was deleted, blocked, or its password was changed.
    """
    account = get_user_model().objects.select_for_update(no_key=True).filter(pk=user_id).values("is_active", "password").first()
    if account is None or not account["is_active"] or password not in (None, account["password"]):
        raise AccountEnded
    with connection.cursor() as cursor:
        cursor.execute(_NOW_US, [user_id])
        return int(cursor.fetchone()[0])
