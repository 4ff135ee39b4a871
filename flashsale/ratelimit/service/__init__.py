"""The limiter as an RPC service, in Envoy's rate-limit protocol v3."""
