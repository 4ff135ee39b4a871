"""Granian's entry point for staff pages and sign-ins. The express lane passes its other requests to this application too."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "flashsale.settings.production")
application = get_wsgi_application()

from flashsale.accounts.denials import denials  # noqa: E402 - settings first
from flashsale.core.durability import require_durable_gate  # noqa: E402 - settings first
from flashsale.ratelimit.in_process import ruleset  # noqa: E402 - settings first
from inventory import catalog  # noqa: E402 - settings first

require_durable_gate()
ruleset().keep_fresh()
catalog.keep()
denials().keep()
