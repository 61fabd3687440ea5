"""What a job may say about each training argument of the library: every field of its classes is in one list.

`spec.training.arguments` passes what is in PASSED. The others would undo what the job promises, or do nothing here:
OURS names the field of the spec that decides instead, REFUSED says why there is none.
"""

from collections.abc import Mapping

PASSED = frozenset(
    {
        "activation_checkpointing",
        "activation_checkpointing_kwargs",
        "adam_beta1",
        "adam_beta2",
        "adam_epsilon",
        "dataloader_num_workers",
        "dataloader_persistent_workers",
        "dataloader_pin_memory",
        "dataloader_prefetch_factor",
        "fp16",
        "full_determinism",
        "gradient_accumulation_steps",
        "gradient_checkpointing",
        "gradient_checkpointing_kwargs",
        "lr_scheduler_kwargs",
        "lr_scheduler_type",
        "max_grad_norm",
        "optim",
        "optim_args",
        "optim_target_modules",
        "tf32",
        "torch_empty_cache_steps",
        "weight_decay",
    }
)

OURS: Mapping[str, str] = {
    "batch_sampler": "spec.training.loss: no batch holds a text twice, and losses of labels get them in groups",
    "bf16": "spec.model.dtype: float32 trains with bfloat16 autocast where the accelerator has it",
    "data_seed": "spec.training.seed",
    "ddp_timeout": "spec.collectiveTimeoutSeconds",
    "eval_delay": "spec.evaluation.every",
    "eval_on_start": "spec.evaluation.baseline",
    "eval_steps": "spec.evaluation.every",
    "eval_strategy": "spec.evaluation.every",
    "greater_is_better": "spec.evaluation.metric",
    "hub_model_id": "spec.publish.repository",
    "hub_private_repo": "spec.publish.private",
    "hub_revision": "spec.publish.branch",
    "hub_strategy": "spec.publish: there is one commit, at the end",
    "hub_token": "spec.publish.tokenSecret: no token is in the training pods",
    "label_names": "spec.data.train[].columns.label",
    "learning_rate": "spec.training.learningRate",
    "learning_rate_mapping": "spec.training.learningRates",
    "load_best_model_at_end": "spec.evaluation: the best model of all evaluations is kept",
    "max_steps": "spec.training.maxSteps",
    "metric_for_best_model": "spec.evaluation.metric",
    "multi_dataset_batch_sampler": "spec.data.sampling",
    "num_train_epochs": "spec.training.numTrainEpochs",
    "per_device_eval_batch_size": "spec.evaluation.batchSize",
    "per_device_train_batch_size": "spec.training.perDeviceTrainBatchSize",
    "prompts": "spec.model.prompts",
    "push_to_hub": "spec.publish",
    "router_mapping": "spec.model.router",
    "save_steps": "spec.checkpoint.everySteps",
    "save_strategy": "spec.checkpoint",
    "save_total_limit": "spec.checkpoint.keep",
    "seed": "spec.training.seed",
    "use_cpu": "spec.resources.accelerator.perNode: 0 trains on the CPU",
    "warmup_ratio": "spec.training.warmupRatio",
    "warmup_steps": "spec.training.warmupRatio",
}

_EVALUATION = "evaluation is the job's own, one pass for all metrics, spread over all processes"
_LOGS = "the loss curve is in status, in metrics and in the pod's log"
_NETWORK = "training pods have no network; read status, metrics or the report"
_GRADIENTS = "gradients are averaged by the trainer itself, once per step"
_SHARDING = "spec.training.sharding says what each process holds of the model"
_CHECKPOINTS = "checkpoints are written by the trainer, verified, and resumed from by themselves"
_BATCHES = "batches are dealt to the processes by the trainer: all get as many, of the same training set"
_UNREAD = "Sentence Transformers does not read it"

REFUSED: Mapping[str, str] = {
    "accelerator_config": _BATCHES,
    "auto_find_batch_size": "the batch size is part of the objective; the mini-batches of cached losses fit themselves",
    "average_tokens_across_devices": "no loss here counts tokens",
    "batch_eval_metrics": _EVALUATION,
    "bf16_full_eval": _EVALUATION,
    "dataloader_drop_last": _BATCHES,
    "dataloader_in_order": _UNREAD,
    "dataloader_multiprocessing_context": _UNREAD,
    "ddp_backend": "accelerators talk over nccl, CPUs over gloo",
    "ddp_broadcast_buffers": _GRADIENTS,
    "ddp_bucket_cap_mb": _GRADIENTS,
    "ddp_find_unused_parameters": _GRADIENTS,
    "ddp_static_graph": _GRADIENTS,
    "debug": "losses and gradients that are no numbers are counted and stop the job",
    "deepspeed": _SHARDING,
    "disable_tqdm": _LOGS,
    "do_eval": _UNREAD,
    "do_predict": _UNREAD,
    "do_train": _UNREAD,
    "enable_jit_checkpoint": _CHECKPOINTS,
    "eval_accumulation_steps": _EVALUATION,
    "eval_do_concat_batches": _EVALUATION,
    "eval_use_gather_object": _EVALUATION,
    "fp16_full_eval": _EVALUATION,
    "fsdp": _SHARDING,
    "fsdp_config": _SHARDING,
    "hub_always_push": "there is one commit, at the end",
    "ignore_data_skip": "a resumed training goes on with the rows that come next",
    "include_for_metrics": _EVALUATION,
    "include_num_input_tokens_seen": _LOGS,
    "label_smoothing_factor": "losses here smooth no labels; CrossEntropyLoss of rerankers takes label_smoothing",
    "length_column_name": _BATCHES,
    "liger_kernel_config": "Liger kernels are not applied to models of Sentence Transformers",
    "local_rank": "processes are started by the job",
    "log_level": _LOGS,
    "log_level_replica": _LOGS,
    "log_on_each_node": _LOGS,
    "logging_first_step": _LOGS,
    "logging_nan_inf_filter": "losses that are no numbers are counted, not hidden",
    "logging_steps": _LOGS,
    "logging_strategy": _LOGS,
    "neftune_noise_alpha": "noise is put into the embeddings of language models only",
    "output_dir": "the job has a volume, laid out by the trainer",
    "parallelism_config": _SHARDING,
    "prediction_loss_only": _EVALUATION,
    "project": _NETWORK,
    "remove_unused_columns": "only the columns that the spec names are written",
    "report_to": _NETWORK,
    "restore_callback_states_from_checkpoint": _CHECKPOINTS,
    "resume_from_checkpoint": _CHECKPOINTS,
    "run_name": _NETWORK,
    "save_on_each_node": _CHECKPOINTS,
    "save_only_model": _CHECKPOINTS,
    "skip_memory_metrics": _LOGS,
    "torch_compile": "losses change how the model forwards and embed batches of every size, for which it compiles anew",
    "torch_compile_backend": "torch_compile is not supported",
    "torch_compile_mode": "torch_compile is not supported",
    "trackio_bucket_id": _NETWORK,
    "trackio_space_id": _NETWORK,
    "trackio_static_space_id": _NETWORK,
    "train_sampling_strategy": _BATCHES,
    "use_cache": "nothing is generated",
    "use_liger_kernel": "Liger kernels are not applied to models of Sentence Transformers",
}

_NO_STOP = "leave it out: training goes to its last step, and the best model of all evaluations is kept"

#: Names that are no argument of this version, and what is meant.
MEANT: Mapping[str, str] = {
    "adafactor": "write optim: adafactor",
    "attn_implementation": "spec.model.attention decides",
    "batch_size": "spec.training.perDeviceTrainBatchSize decides",
    "callbacks": _NO_STOP,
    "device_map": "leave it out: each process has an accelerator of its own",
    "dispatch_batches": f"leave it out: {_BATCHES}",
    "dtype": "spec.model.dtype decides",
    "early_stopping_patience": _NO_STOP,
    "early_stopping_threshold": _NO_STOP,
    "epochs": "spec.training.numTrainEpochs decides",
    "evaluation_strategy": "it is called eval_strategy now; spec.evaluation.every decides",
    "evaluator": "spec.data.evaluation decides",
    "fp16_backend": "leave it out: fp16: true is torch's own",
    "fp16_opt_level": "leave it out: fp16: true is torch's own",
    "group_by_length": f"leave it out: {_BATCHES}",
    "half_precision_backend": "spec.model.dtype decides",
    "include_inputs_for_metrics": f"leave it out: {_EVALUATION}",
    "logging_dir": f"leave it out: {_LOGS}",
    "loss": "spec.training.loss decides",
    "lr": "spec.training.learningRate decides",
    "max_length": "spec.model.maxSeqLength decides",
    "max_seq_length": "spec.model.maxSeqLength decides",
    "mini_batch_size": "spec.training.loss.arguments.mini_batch_size decides",
    "model_args": "it is called model_kwargs now; spec.model.modelKwargs decides",
    "model_kwargs": "spec.model.modelKwargs decides",
    "no_cuda": "it is called use_cpu now; spec.resources.accelerator.perNode decides: 0 trains on the CPU",
    "overwrite_output_dir": "leave it out: the job has a volume, laid out by the trainer",
    "per_gpu_eval_batch_size": "spec.evaluation.batchSize decides",
    "per_gpu_train_batch_size": "spec.training.perDeviceTrainBatchSize decides",
    "processing_class": "leave it out: the model's own is used",
    "processor_kwargs": "spec.model.processorKwargs decides",
    "push_to_hub_model_id": "it is called hub_model_id now; spec.publish.repository decides",
    "push_to_hub_organization": "spec.publish.repository decides",
    "push_to_hub_token": "spec.publish.tokenSecret decides",
    "save_safetensors": "leave it out: nothing else is written",
    "split_batches": f"leave it out: {_BATCHES}",
    "tokenizer": "it is called processing_class now; leave it out: the model's own is used",
    "tokenizer_kwargs": "it is called processor_kwargs now; spec.model.processorKwargs decides",
    "torch_dtype": "it is called dtype now; spec.model.dtype decides",
    "trust_remote_code": "leave it out: code of a model is never run",
    "torchdynamo": "leave it out: torch_compile is not supported",
    "train_batch_size": "spec.training.perDeviceTrainBatchSize decides",
    "use_mps_device": "spec.resources.accelerator decides",
}

#: Deprecated names of arguments that pass.
RENAMED: Mapping[str, str] = {
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}

#: Smallest values that make sense.
LEAST: Mapping[str, int] = {
    "dataloader_num_workers": 0,
    "dataloader_prefetch_factor": 1,
    "gradient_accumulation_steps": 1,
    "max_grad_norm": 0,
    "torch_empty_cache_steps": 1,
    "weight_decay": 0,
}

#: Schedules that follow an evaluation that the Trainer makes.
BY_EVALUATION = ("reduce_lr_on_plateau", "greedy")
