"""What can be wrong beside the lab's server, on its host."""
