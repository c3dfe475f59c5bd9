"""Conformance suites: one a port, run over every implementation, ours and those of other packages."""
