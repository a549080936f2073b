"""What became of every item, read from histories."""
