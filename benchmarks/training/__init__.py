"""The published recipe as a plain script against the same job through finetune_trainer: time, memory, NDCG."""
