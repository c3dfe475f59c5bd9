"""The dialects of batch systems, as pure text: one a file. No I/O."""
