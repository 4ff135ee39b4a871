"""The steps of an order's way, each a Celery task."""
