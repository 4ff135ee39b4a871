"""Payments. Rows are written first, then the provider is called outside any transaction, then its answer is recorded."""

from payments.services.attempts import open_by_chain, try_payment
from payments.services.books import books_sql
from payments.services.charges import (
    OPEN,
    Answer,
    Captured,
    Opened,
    PaymentRequest,
    Status,
    action_of,
    ask,
    captured_of,
    decided_payments,
    due_payments,
    known_method,
    look_up,
    open_payments,
    pace,
    put_back,
    record,
    shown_methods,
    untold_answers,
)
from payments.services.comparison import Found, compare
from payments.services.events import Confirmed, close_events, confirm_events, forget_events, receive_event, signature_header
from payments.services.refunds import process_refunds, request_refund, send_again

__all__ = [
    "OPEN",
    "Answer",
    "Captured",
    "Confirmed",
    "Found",
    "Opened",
    "PaymentRequest",
    "Status",
    "action_of",
    "ask",
    "books_sql",
    "captured_of",
    "close_events",
    "compare",
    "confirm_events",
    "decided_payments",
    "due_payments",
    "forget_events",
    "known_method",
    "look_up",
    "open_by_chain",
    "open_payments",
    "pace",
    "process_refunds",
    "put_back",
    "receive_event",
    "record",
    "request_refund",
    "send_again",
    "shown_methods",
    "signature_header",
    "try_payment",
    "untold_answers",
]
