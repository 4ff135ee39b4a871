"""The WSGI application in a process that is to die; see ``armed``."""

from flashsale.wsgi import application
from tests.crash import armed

__all__ = ["application", "armed"]
