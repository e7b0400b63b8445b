"""What a site configures: targets, and where Medic8 keeps its own state."""
