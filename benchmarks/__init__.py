"""Speed and memory, as ratios within one run: ``python -m benchmarks`` prints them all and says which limit is broken."""
