"""`finetune validate` and `finetune run`: the same manifest without a cluster."""
