"""How commands and files reach a machine: one implementation a file."""
