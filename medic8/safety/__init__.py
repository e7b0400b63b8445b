"""Who may act, when and how often, as pure functions."""
