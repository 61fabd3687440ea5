"""Tests of the Helm chart, rendered and installed by real Helm."""
