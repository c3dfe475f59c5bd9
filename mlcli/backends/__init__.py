"""What can run a job: one implementation a file."""
