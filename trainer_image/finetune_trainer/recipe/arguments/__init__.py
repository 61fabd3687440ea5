"""Arguments of the library that a manifest may state: their types, and which of them become what."""
