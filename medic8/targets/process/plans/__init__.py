"""What can be done about the issues of a process."""
