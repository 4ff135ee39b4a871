#!/usr/bin/env python
"""Django's command line. Settings: what DJANGO_SETTINGS_MODULE names, else those of `make up`, else production's."""

import os
import sys

from django.core.management import execute_from_command_line

from flashsale.settings import env


def main() -> int:
    """Run the command; a setting that is missing or wrong is one sentence."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        os.environ["DJANGO_SETTINGS_MODULE"] = env.stack_env().get("DJANGO_SETTINGS_MODULE", "flashsale.settings.production")
    try:
        execute_from_command_line(sys.argv)
    except env.MissingSetting as error:
        sys.stderr.write(f"flashsale: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
