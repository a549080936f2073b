"""Four small programs that use `fan_out` as a user of the package would: see README.md."""
