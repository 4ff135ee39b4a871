"""The gate's keys. All keys of an item carry its hash tag; a receipt is one key per (source, seq) over all items."""


def meta(item: int) -> str:
    """hash: terms of the sale, allocated, sold, version, fence, wake-up memory"""
    return f"fs:{{{item}}}:meta"


def stock(item: int) -> str:
    """int: units left to admit"""
    return f"fs:{{{item}}}:stock"


def buyers(item: int) -> str:
    """hash: customer -> units held or bought"""
    return f"fs:{{{item}}}:buyers"


def unpaid(item: int) -> str:
    """hash: customer -> orders that expired without a payment"""
    return f"fs:{{{item}}}:unpaid"


def held(item: int) -> str:
    """hash: order id -> customer:units"""
    return f"fs:{{{item}}}:held"


def queued(item: int) -> str:
    """hash: customer -> JSON lines of their orders that have no row yet"""
    return f"fs:{{{item}}}:queued"


def admitted(item: int) -> str:
    """stream: admitted orders until the deduction has been committed"""
    return f"fs:{{{item}}}:admitted"


def line(item: int) -> str:
    """sorted set: customer -> arrival; those who wait"""
    return f"fs:{{{item}}}:line"


def seen(item: int) -> str:
    """sorted set: customer -> when they last asked; those who wait, are away, or were called up and have not come"""
    return f"fs:{{{item}}}:line:seen"


def called(item: int) -> str:
    """sorted set: customer -> until when their turn lasts"""
    return f"fs:{{{item}}}:line:called"


def kept(item: int) -> str:
    """sorted set: customer -> arrival; the places of those who are away, or were called up and have not come"""
    return f"fs:{{{item}}}:line:kept"


def tickets(item: int) -> str:
    """hash: customer -> ticket"""
    return f"fs:{{{item}}}:line:tickets"


def turns(item: int) -> str:
    """list: customer, arrival, time of each of the last 100,000 call-ups; for the report"""
    return f"fs:{{{item}}}:line:turns"


def rate(item: int, rule: str) -> str:
    """string: what an admission rule has counted of the item"""
    return f"fs:{{{item}}}:rate:{rule}"


def gates() -> str:
    """set: items that have or had a gate, until its keys are deleted"""
    return "fs:gates"


def held_back() -> str:
    """sorted set: item -> when it was last served; items whose orders the pace keeps waiting, over all items"""
    return "fs:{dispatch}:held_back"


def woken() -> str:
    """string: a delayed wake-up is on its way, over all items"""
    return "fs:{dispatch}:woken"


def token(item: int, purchase_token: str) -> str:
    """string: the customer the purchase token was issued to"""
    return f"fs:{{{item}}}:token:{purchase_token}"


def tokens(item: int, customer: int) -> str:
    """hash: the customer's unused purchase tokens -> expiry, version of the terms, price, currency; see terms.lua"""
    return f"fs:{{{item}}}:tokens:{customer}"


def spent(item: int, purchase_token: str) -> str:
    """string: the customer who used the purchase token"""
    return f"fs:{{{item}}}:spent:{purchase_token}"


def receipt(source: str, seq: str) -> str:
    """string: customer, digest, order id; over all items"""
    return f"fs:receipt:{source}:{seq}"
