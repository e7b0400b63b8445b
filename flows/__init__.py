"""One module for each procedure that an operator can name."""
