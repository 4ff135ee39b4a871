"""Names of environment variables that processes hand to each other. Reads nothing: it is imported before they are set."""

EMBEDDED_DATABASE_URL = "EMBEDDED_DATABASE_URL"  # set by the stack that starts a database of its own
