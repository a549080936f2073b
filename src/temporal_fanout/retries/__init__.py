"""Retries: runs over chosen items of finished workflows."""
