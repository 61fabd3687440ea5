"""`make demo`: one FinetuneJob from manifest to published model, live in the terminal."""
