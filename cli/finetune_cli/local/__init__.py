"""`finetune run` and `finetune estimate`: the same manifest without a cluster."""
