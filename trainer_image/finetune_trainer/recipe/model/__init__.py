"""The base model as it is trained: loaded from the prepared inputs, in a stated precision."""
