"""The WSGI entry point for Granian."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flashsale.settings.production")
django = get_wsgi_application()

from django.conf import settings  # noqa: E402 - settings first

from flashsale.accounts.denials import denials  # noqa: E402 - settings first
from flashsale.core.durability import require_durable_gate  # noqa: E402 - settings first
from flashsale.edge import catalog  # noqa: E402 - settings first
from flashsale.ratelimit.in_process import ruleset  # noqa: E402 - settings first
from flashsale.web.express import ExpressLane  # noqa: E402 - settings first

require_durable_gate()
ruleset().keep_fresh()
catalog.keep()
denials().keep()
application = ExpressLane(django) if settings.EXPRESS_LANE else django
