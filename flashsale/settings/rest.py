"""The API: credentials checked without a query, one JSON shape for errors, OpenAPI."""

from datetime import timedelta
from typing import Any


def rest_settings(signing_key: str) -> dict[str, Any]:
    """
    Args:
        signing_key: the HS256 key of the access tokens.
    """
    return {
        "REST_FRAMEWORK": {
            "DEFAULT_AUTHENTICATION_CLASSES": [
                "flashsale.web.authentication.AccessTokens",
                "flashsale.web.authentication.SignedSessions",
            ],
            "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
            "DEFAULT_THROTTLE_CLASSES": ["flashsale.ratelimit.drf.RuleThrottle"],
            "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
            "DEFAULT_PARSER_CLASSES": ["flashsale.web.strict.StrictJSONParser"],
            "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
            "EXCEPTION_HANDLER": "flashsale.web.problem.problem_response",
            "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
        },
        "SIMPLE_JWT": {
            "SIGNING_KEY": signing_key,
            "ALGORITHM": "HS256",
            "ACCESS_TOKEN_LIFETIME": timedelta(minutes=15),
            "REFRESH_TOKEN_LIFETIME": timedelta(days=1),
            "UPDATE_LAST_LOGIN": False,
        },
        "SPECTACULAR_SETTINGS": {
            "TITLE": "flashsale",
            "VERSION": "1",
            "SERVE_INCLUDE_SCHEMA": False,
            "POSTPROCESSING_HOOKS": [
                "drf_spectacular.hooks.postprocess_schema_enums",
                "flashsale.web.schema.with_problems",
                "flashsale.web.schema.without_unknown_fields",
            ],
            "SWAGGER_UI_DIST": "SIDECAR",
            "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
            "REDOC_DIST": "SIDECAR",
        },
    }
