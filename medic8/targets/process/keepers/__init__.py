"""Who starts and stops a process: supervisord, systemd, or commands of the site."""
