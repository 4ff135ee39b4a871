"""Rate limits: algorithms, stores, rules and the answers to a limit. Knows no model and no HTTP."""
