"""A data pipeline: rows of a CSV are validated, transformed and checked in batches, and written out again."""
