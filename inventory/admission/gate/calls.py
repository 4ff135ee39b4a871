"""Shared code of all gate calls: the scripts' folder, and the errors for the scripts' return codes."""

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import redis

from flashsale.core.errors import FlashsaleError
from flashsale.core.lua import Script
from flashsale.core.own_connection import hang_up
from flashsale.core.redis_client import gate_client
from flashsale.core.steps import Steps, Trip
from inventory import errors
from inventory.admission.codes import AdmitCode

LUA = Path(__file__).parent.parent / "lua"
CLOSED, TERMS, WHOLE = LUA / "closed.lua", LUA / "terms.lua", LUA / "whole.lua"

_REFUSALS: dict[AdmitCode, type[FlashsaleError]] = {
    AdmitCode.MISMATCH: errors.IdempotencyMismatch,
    AdmitCode.SEQ_TAKEN: errors.SeqTaken,
    AdmitCode.GATE_MISSING: errors.GateMissing,
    AdmitCode.NOT_OPEN: errors.NotOpen,
    AdmitCode.PAUSED: errors.Paused,
    AdmitCode.ENDED: errors.Ended,
    AdmitCode.TOKEN_INVALID: errors.TokenInvalid,
    AdmitCode.TOKEN_USED: errors.TokenUsed,
    AdmitCode.QUANTITY_OVER: errors.QuantityOver,
    AdmitCode.LIMIT_PER_CUSTOMER: errors.LimitPerCustomer,
    AdmitCode.TOO_MANY_UNPAID: errors.TooManyUnpaid,
    AdmitCode.BUSY: errors.Busy,
    AdmitCode.SOLD_OUT: errors.SoldOut,
    AdmitCode.TICKET_LAPSED: errors.TicketLapsed,
}
_RETRY_AFTER_S = {AdmitCode.GATE_MISSING: 1, AdmitCode.BUSY: 2}

P = ParamSpec("P")
T = TypeVar("T")


def guarded(function: Callable[P, T]) -> Callable[P, T]:
    """Turn Redis errors into ``GateUnavailable``. Connections to a former primary are closed."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except redis.RedisError as error:
            raise _away(error) from error

    return call


def trip(script: Script, keys: Sequence[str], args: Sequence[Any]) -> Steps[Any]:
    """Run a script on the gate.

    Raises:
        GateUnavailable: there was no reply. The script may have run.
    """
    try:
        return (yield Trip(script, gate_client, keys, args))
    except redis.RedisError as error:
        raise _away(error) from error


def _away(error: redis.RedisError) -> errors.GateUnavailable:
    if isinstance(error, redis.ReadOnlyError):
        hang_up(gate_client())
    return errors.GateUnavailable(retry_after=1, cause=repr(error))


def refusal_of(code: AdmitCode) -> FlashsaleError:
    """The error for this code."""
    return _REFUSALS[code](retry_after=_RETRY_AFTER_S[code]) if code in _RETRY_AFTER_S else _REFUSALS[code]()


def refuse(code: AdmitCode) -> NoReturn:
    """Raise the error for this code."""
    raise refusal_of(code)
