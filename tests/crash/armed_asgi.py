"""The ASGI application in a process that is to die; see ``armed``."""

from flashsale.asgi import application
from tests.crash import armed

__all__ = ["application", "armed"]
