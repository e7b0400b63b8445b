"""One module for each verb; a task is one read or one write."""
