"""What is trained, stated once: model, objective, arguments, batches. Prepare checks it, train follows it."""
