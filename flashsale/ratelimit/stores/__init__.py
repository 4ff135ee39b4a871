"""Where limits keep their state."""
