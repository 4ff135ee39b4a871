"""Who the customer is, and how their access token is renewed."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Session:
    """Credentials, all optional: without any, only what everybody may see is answered."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    source: Callable[[], str] | None = field(default=None, repr=False)  # an access token from elsewhere, whenever one is needed
    access: str | None = field(default=None, repr=False)
    refresh: str | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        username: str | None = None,
        password: str | None = None,
        access_token: str | Callable[[], str] | None = None,
        refresh_token: str | None = None,
    ) -> "Session":
        """The session of a client's arguments."""
        fixed = access_token if isinstance(access_token, str) else None
        source = None if isinstance(access_token, str) else access_token
        return cls(username=username, password=password, source=source, access=fixed, refresh=refresh_token)

    @property
    def can_renew(self) -> bool:
        """Whether another access token can be had."""
        return self.source is not None or self.refresh is not None or self.username is not None
