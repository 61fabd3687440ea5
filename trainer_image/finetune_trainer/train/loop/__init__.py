"""One pass of Sentence Transformers training: steps, gradients, pace."""
