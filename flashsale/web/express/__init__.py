"""The express lane: answers common requests of the hot calls before Django. All other requests go to Django.

It uses the same functions and limits and gives the same answers as the views, which stay the reference. The views answer every
unusual request: a query string, another content type, an invalid body, refused credentials.
"""

from flashsale.web.express.lane import ExpressLane

__all__ = ["ExpressLane"]
