"""What this machine tells, by /proc and /sys; it is only read."""
