"""What flows through the house: frozen models with the words of the design."""
