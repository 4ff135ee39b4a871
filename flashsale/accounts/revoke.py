"""Revoke credentials: store the revocation in PostgreSQL, then publish it to Redis."""

import logging

import redis
from django.db import Error, transaction

from flashsale.accounts import revocations
from flashsale.accounts.models import Revocation

logger = logging.getLogger(__name__)


def session(name: str) -> None:
    """Revoke a browser session or token family. May run twice.

    If PostgreSQL is down, only Redis is written: a sign-out is never refused.
    """
    try:
        with transaction.atomic():
            Revocation.objects.create(session=name)
            transaction.on_commit(revocations.publish, robust=True)
    except Error as error:
        logger.warning("session revoked in Redis only", extra={"event": "revocation_not_stored", "error": repr(error)})
        _tell_redis(Revocation(session=name))


def everything_of(user_id: int) -> None:
    """Revoke all credentials issued to a user so far ("sign out everywhere"). May run twice."""
    with transaction.atomic():
        Revocation.objects.create(user_id=user_id)
        transaction.on_commit(revocations.publish, robust=True)


def _tell_redis(revocation: Revocation) -> None:
    try:
        revocations.append([revocation])
    except redis.RedisError as error:
        logger.error("session not revoked", extra={"event": "session_not_revoked", "error": repr(error)})
