"""The recovery contract: nothing is forgotten, and every end is one of three that the record proves."""
