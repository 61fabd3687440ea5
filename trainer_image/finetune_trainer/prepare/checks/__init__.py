"""What can be known about model and loss before an accelerator is asked for."""
