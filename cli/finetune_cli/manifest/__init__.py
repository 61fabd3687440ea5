"""`finetune validate`: what can be said of a manifest by itself."""
