"""The command line: one file per noun that a person types. Thin: parse, call an operation, hand the result to ``render``."""
