"""One pass of Sentence Transformers training: rows, batches, steps."""
