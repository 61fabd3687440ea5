"""The models and datasets of the examples, made on this machine: `python -m examples.inputs --help`."""
