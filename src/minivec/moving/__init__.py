"""What is built around a migration."""
