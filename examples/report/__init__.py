"""Report generation: three analyses of a database in parallel, and one page that a person reads."""
