"""What the operator costs on a real cluster."""
