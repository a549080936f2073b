"""What every process of ours needs: its end, logs, health, metrics, a dev server."""
