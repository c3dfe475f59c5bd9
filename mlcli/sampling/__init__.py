"""Which values a sweep tries (samplers), and which trials it stops early (termination policies). No I/O."""
