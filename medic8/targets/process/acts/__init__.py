"""What is changed about a process, one guarded act each."""
