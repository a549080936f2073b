"""The exporter: metrics of closed and open runs, from their histories."""
