"""What can be asked for: one file an operation. Each is given ``Services`` and never prints."""
