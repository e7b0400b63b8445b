"""What a site installs: deployments and schedules. Empty until flows are deployed."""
