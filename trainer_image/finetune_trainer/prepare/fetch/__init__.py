"""Model and rows from the Hub, from claims, and images from addresses."""
