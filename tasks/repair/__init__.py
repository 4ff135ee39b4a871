"""What finds and repairs disagreement: audit, drift, rebuilt gates, dead letters."""
