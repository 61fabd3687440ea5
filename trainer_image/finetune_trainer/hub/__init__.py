"""The Hub as prepare, preflight and publish use it: snapshots in, one commit out."""
