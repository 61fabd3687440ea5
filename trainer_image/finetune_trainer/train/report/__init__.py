"""What training tells: progress while it runs, the report afterwards."""
