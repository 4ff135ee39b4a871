"""The gateway's configuration: Envoy reads what this writes."""
