"""The account name of a sign-in as a rate-limit key."""

import unicodedata
from hashlib import sha256


def account_key(name: object) -> str | None:
    """A digest of the normalised name, because names are personal data. None if the value is not a name."""
    if not isinstance(name, str):
        return None
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).strip().casefold())
    return sha256(folded.encode("utf-8", "replace")).hexdigest()[:32]
