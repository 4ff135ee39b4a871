"""Redis keys of the gate. All keys of an item share its hash tag. Receipts are keyed by (source, seq), across all items."""


def meta(item: int) -> str:
    """hash: the sale's terms, allocated, sold, version, fencing token, wake-up state"""
    return f"fs:{{{item}}}:meta"


def stock(item: int) -> str:
    """int: units left to admit"""
    return f"fs:{{{item}}}:stock"


def buyers(item: int) -> str:
    """hash: customer -> units held or bought"""
    return f"fs:{{{item}}}:buyers"


def unpaid(item: int) -> str:
    """hash: customer -> number of orders left unpaid"""
    return f"fs:{{{item}}}:unpaid"


def held(item: int) -> str:
    """hash: order id -> customer:units"""
    return f"fs:{{{item}}}:held"


def queued(item: int) -> str:
    """hash: customer -> JSON lines of their orders that are not in PostgreSQL yet"""
    return f"fs:{{{item}}}:queued"


def admitted(item: int) -> str:
    """stream: admitted orders until their deduction is committed"""
    return f"fs:{{{item}}}:admitted"


def line(item: int) -> str:
    """sorted set: customer -> arrival number; the waiting customers"""
    return f"fs:{{{item}}}:line"


def seen(item: int) -> str:
    """sorted set: customer -> time of their last poll; waiting, away, or called up without fetching the token"""
    return f"fs:{{{item}}}:line:seen"


def called(item: int) -> str:
    """sorted set: customer -> end of their turn"""
    return f"fs:{{{item}}}:line:called"


def kept(item: int) -> str:
    """sorted set: customer -> arrival number; kept places of customers who are away or did not fetch their token"""
    return f"fs:{{{item}}}:line:kept"


def tickets(item: int) -> str:
    """hash: customer -> ticket"""
    return f"fs:{{{item}}}:line:tickets"


def turns(item: int) -> str:
    """list: customer, arrival number and time of the last 100,000 call-ups, for the report"""
    return f"fs:{{{item}}}:line:turns"


def rate(item: int, rule: str) -> str:
    """string: state of an admission rule for the item"""
    return f"fs:{{{item}}}:rate:{rule}"


def gates() -> str:
    """set: items whose gate keys exist"""
    return "fs:gates"


def held_back() -> str:
    """sorted set: item -> time it was last served; items that wait for the dispatcher's pace, across all items"""
    return "fs:{dispatch}:held_back"


def woken() -> str:
    """string: exists while a delayed wake-up is queued, across all items"""
    return "fs:{dispatch}:woken"


def token(item: int, purchase_token: str) -> str:
    """string: the customer that the purchase token was issued to"""
    return f"fs:{{{item}}}:token:{purchase_token}"


def tokens(item: int, customer: int) -> str:
    """hash: unused purchase token of the customer -> expiry, terms version, price, currency; see terms.lua"""
    return f"fs:{{{item}}}:tokens:{customer}"


def spent(item: int, purchase_token: str) -> str:
    """string: the customer who used the purchase token"""
    return f"fs:{{{item}}}:spent:{purchase_token}"


def receipt(source: str, seq: str) -> str:
    """string: customer, digest, order id; across all items"""
    return f"fs:receipt:{source}:{seq}"
