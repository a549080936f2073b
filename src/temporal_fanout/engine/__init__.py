"""What runs inside workflows."""
