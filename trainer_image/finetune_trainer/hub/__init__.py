"""The Hub as prepare and publish use it: its client, its words, and what preflight hands to prepare."""
