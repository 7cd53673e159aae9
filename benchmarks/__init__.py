"""How fast the gateway is, beside what one would use instead: `python -m benchmarks`."""
