"""One folder for each kind of target."""
