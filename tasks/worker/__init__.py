"""How a worker runs tasks: its pace, retries, connections and heartbeat."""
