"""What the operator does and costs at a thousand jobs and more."""
