"""What is looked at of a process."""
