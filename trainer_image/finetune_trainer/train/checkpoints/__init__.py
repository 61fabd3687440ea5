"""What survives a killed pod: verified checkpoints and the best model so far."""
