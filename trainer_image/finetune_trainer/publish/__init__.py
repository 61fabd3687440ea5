"""Puts the model on the Hub, if it got better: preflight, gate, card, one commit."""
