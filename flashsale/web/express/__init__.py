"""The express lane: the hot calls in their common form, answered before Django; everything else goes on to Django.

The same functions, limits and answers as the views, which stay the reference: what is unusual about a request (a query
string, another content type, a body that is not valid, credentials that are refused) is theirs to answer.
"""

from flashsale.web.express.lane import ExpressLane

__all__ = ["ExpressLane"]
