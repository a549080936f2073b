"""What an operator does to runs, from outside."""
