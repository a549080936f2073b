"""How fast `fan_out` is, next to what there is without it: `python -m benchmarks.bench`."""
