"""Tell people what happened, by Apprise: words, routes, sending."""
