"""Operators: they launch a job, wait, and turn its exit code into a task state. Jobs decide, operators do not."""
