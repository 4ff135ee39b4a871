"""The gateway: writes Envoy's configuration files."""
