"""The stack that a fresh machine runs: PostgreSQL, a Prefect server on it, and Valkey for the lab's grid."""
