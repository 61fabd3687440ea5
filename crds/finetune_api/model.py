"""spec.model: the base model, or how one is put together."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from finetune_api.base import Contract
from finetune_api.fields import Arguments, ShortText, Source, rule, rules
from finetune_api.losses import Kind, Similarity

MAX_MODULES = 16
MAX_ROUTES = 8


class Prompts(Contract):
    """Instructions put before what is encoded."""

    query: Annotated[str, StringConstraints(max_length=2048)] | None = None
    """Instruction for queries, or for the pairs of a reranker; the model's own if absent."""
    document: Annotated[str, StringConstraints(max_length=2048)] | None = None
    """Instruction for documents; the model's own if absent. A reranker has none."""


class Module(Contract):
    """One module of an explicit list, by the library's class name."""

    type: Literal[
        "Transformer",
        "Pooling",
        "Dense",
        "Normalize",
        "LogitScore",
        "Dropout",
        "LayerNorm",
        "WeightedLayerPooling",
        "StaticEmbedding",
        "CLIPModel",
    ]
    """Class of sentence_transformers' modules. The first one reads model.source."""
    arguments: Arguments = Field(default_factory=dict)
    """The class's own keyword arguments. What follows from the module before, such as dimensions, may be left out.
    activation_function of Dense is named as in torch.nn, for example Identity; it is Tanh if absent. LogitScore takes
    true_token and false_token as text instead of ids; Dense takes them too, and starts from the difference of their
    embeddings."""


class Route(Contract):
    """One encoder of a Router."""

    source: Source
    """hf://OWNER/NAME, pvc://CLAIM/PATH or s3://BUCKET/PATH (gs://, az://)."""
    revision: ShortText = "main"
    """Branch, tag or commit."""
    modules: Annotated[list[Module], Field(max_length=MAX_MODULES)] = Field(default_factory=list)
    """Modules around the model at source; as it was saved if absent."""
    freeze: bool = False
    """Leave this encoder as it is."""


class Router(Contract):
    """Encoders of their own for queries and documents, or for texts and images."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.by == 'Task' ? self.routes.all(name, name in ['query', 'document']) : "
                "self.routes.all(name, name in ['text', 'image'])",
                "routes are named query and document with by: Task, text and image with by: Modality",
                field=".routes",
            )
        )
    )

    by: Literal["Task", "Modality"] = "Modality"
    """What decides which encoder takes an input: its part in the search, or what it is."""
    routes: Annotated[
        dict[str, Route], Field(min_length=2, max_length=2, json_schema_extra={"minProperties": 2, "maxProperties": 2})
    ]
    """Encoders by name: query and document, or text and image."""


class Lora(Contract):
    """Low-rank adapters, trained instead of the weights and merged into them at the end."""

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of the adapters."""
    alpha: Annotated[float, Field(gt=0)] = 32
    """Scale of the adapters."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout before the adapters."""
    target_modules: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=256)]], Field(max_length=64)
    ] = Field(default_factory=list)
    """Names of the layers that get adapters, for example q_proj; all linear layers of the language model if absent."""


class Model(Contract):
    """The base model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.source) != has(self.router)",
                "give either source or router: a router's routes have sources",
                field=".source",
            ),
            rule(
                "!has(self.router) || (self.kind == 'Embedding' && (!has(self.modules) || size(self.modules) == 0) && "
                "!has(self.lora))",
                "router goes with kind Embedding, and without modules and lora; its routes have modules of their own",
                field=".router",
            ),
            rule(
                "!has(self.numLabels) || self.kind == 'Reranker'",
                "numLabels goes with kind Reranker: an embedding model has no labels",
                field=".numLabels",
            ),
            rule(
                "!has(self.similarity) || self.kind == 'Embedding'",
                "similarity goes with kind Embedding: a reranker compares no embeddings",
                field=".similarity",
            ),
        )
    )

    kind: Kind = "Embedding"
    """What is trained: Embedding is a Sentence Transformers bi-encoder, one vector per text or image; Reranker is a
    CrossEncoder, one score per pair of query and document."""
    num_labels: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Scores per pair that a reranker gives; as it was saved, or 1, if absent. CrossEntropyLoss needs one per class."""
    source: Source | None = None
    """hf://OWNER/NAME, pvc://CLAIM/PATH or s3://BUCKET/PATH (gs://, az://)."""
    revision: ShortText = "main"
    """Branch, tag or commit; prepare resolves it to a commit, which is shown in status.model.revision. Of a
    bucket: such a revision out of a status, which has to be there still; by default whatever is there."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of computing, and of the published weights. float32 trains with bfloat16 autocast where the accelerator
    has it; bfloat16 is trained as float32 shares (training.sharding), or, with sharding None, in bfloat16 alone, where
    most weights do not move at learning rates below 1e-4; float16 is trained without loss scaling;
    training.arguments.fp16 is float16 autocast of float32 with it."""
    attention: Literal["auto", "sdpa", "flash_attention_2", "eager"] = "auto"
    """Attention implementation. auto takes flash_attention_2 where it is installed and usable, else sdpa."""
    max_seq_length: Annotated[int, Field(ge=8, le=1_048_576)] | None = None
    """Longest input in tokens; the model's own limit if absent."""
    similarity: Similarity | None = None
    """How embeddings are compared, in evaluation and by users of the published model; what the model says, or Cosine,
    if absent. Give what the loss trains for: MarginMSELoss and DistillKLDivLoss train for Dot."""
    prompts: Prompts = Field(default_factory=Prompts)
    """Instructions put before queries and documents, in training, evaluation and the published model."""
    model_kwargs: Arguments = Field(default_factory=dict)
    """Passed to the model's from_pretrained as they are."""
    processor_kwargs: Arguments = Field(default_factory=dict)
    """Passed to the processor's from_pretrained as they are, for example the image size limits."""
    modalities: Arguments = Field(default_factory=dict)
    """Replaces the detected modality_config of a model that was not saved by Sentence Transformers. Keys are text,
    image, audio, video, message, or several with + between them; values name method and method_output_name."""
    modules: Annotated[list[Module], Field(max_length=MAX_MODULES)] = Field(default_factory=list)
    """Explicit modules around the model at source; as it was saved, or as the library detects it, if absent."""
    router: Router | None = None
    """Encoders of their own for queries and documents, or for texts and images, instead of source."""
    lora: Lora | None = None
    """Train low-rank adapters instead of all weights."""
    freeze: Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=256)]], Field(max_length=32)] = (
        Field(default_factory=list)
    )
    """Parameters that are not trained, by patterns of their names, for example 0.model.visual.* or, in a router,
    0.sub_modules.text.*."""
