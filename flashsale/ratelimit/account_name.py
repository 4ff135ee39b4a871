"""Whose password is tried, by the name that was sent."""

import unicodedata
from hashlib import sha256


def account_key(name: object) -> str | None:
    """A name as a key, the same for every way to write it; None for what is no name. A digest: names are personal data."""
    if not isinstance(name, str):
        return None
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).strip().casefold())
    return sha256(folded.encode("utf-8", "replace")).hexdigest()[:32]
