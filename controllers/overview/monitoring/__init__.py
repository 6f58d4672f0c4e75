"""What monitors nodes from outside: alert rules for Prometheus, and a dashboard for Grafana, as plain data."""
