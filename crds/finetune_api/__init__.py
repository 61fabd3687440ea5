"""The FinetuneJob contract: what users write, what operator and trainer tell each other.

Imported by `finetune_operator` and `finetune_trainer`, which never import one another.
"""

__version__ = "0.1.0"
