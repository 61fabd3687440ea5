"""Every rule of the CRD, accepted and rejected by the real API server."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api import pod_templates
from tests.stack.jobs import change
from tests.stack.kubectl import Kubectl, KubectlError, Manifest

pytestmark = pytest.mark.api_server
NAMESPACE = "finetune-rules"


@pytest.fixture(scope="module")
def namespace(kubectl: Kubectl) -> Iterator[str]:
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    yield NAMESPACE
    kubectl.delete("namespace", NAMESPACE, namespace=NAMESPACE, wait=False)


@pytest.fixture
def job(minimal: Manifest, namespace: str) -> Manifest:
    minimal["metadata"] = {"name": "job", "namespace": namespace}
    return minimal


def submit(kubectl: Kubectl, manifest: Manifest, *options: str) -> Manifest:
    """Return the object as the API server would store it, with its defaults."""
    import json

    import yaml

    stored: Manifest = json.loads(
        kubectl.run("create", "--dry-run=server", *options, "-o", "json", "-f", "-", stdin=yaml.safe_dump(manifest))
    )
    return stored


EVALUATION = [{"name": "eval", "source": "hf://acme/pages", "columns": {}}]
EVALUATION_TABLES = {"name": "eval", "source": "hf://acme/pages"}
ROUTE = {"source": "hf://acme/encoder"}
PUBLISH = {"repository": "acme/model", "tokenSecret": {"name": "hub-token"}}

ACCEPTED: dict[str, dict[str, Any]] = {
    **pod_templates.ACCEPTED,
    "a hub source": {"model__source": "hf://Qwen/Qwen3-VL-Embedding-2B"},
    "a claim source": {"model__source": "pvc://models/qwen/2b"},
    "a bucket": {"model__source": "s3://company", "buckets": {"secretName": "company-s3"}},
    "a folder in a bucket": {"data__train__0__source": "gs://company_1/pages/year=2026/"},
    "a folder in a container": {"data__train__0__source": "az://company/pages"},
    "descending dims": {"training__loss": {"matryoshkaDimensions": [768, 256, 64]}},
    "two nodes with ReadWriteMany": {"resources": {"nodes": 2}, "storage": {"accessMode": "ReadWriteMany"}},
    "a volume of one pod": {"storage": {"accessMode": "ReadWriteOncePod"}},
    "two nodes of four": {"resources": {"nodes": 4, "minNodes": 2}, "storage": {"accessMode": "ReadWriteMany"}},
    "two nodes with an existing claim": {"resources": {"nodes": 2}, "storage": {"existingClaim": "shared"}},
    "a gate with an evaluation set": {"data__evaluation": EVALUATION, "publish": PUBLISH | {"gate": {}}},
    "publish without a gate": {"publish": PUBLISH},
    "publish into a bucket": {"publish": {"bucket": "s3://company/models/", "secretName": "company-s3"}},
    "publish into a registry": {"publish": {"registry": "oci://registry.example:5000/team/a_b/pages:v1.0-x"}},
    "publish into a registry with a login": {
        "publish": {"registry": "oci://registry.example/pages:v1", "secretName": "company-registry"}
    },
    "publish with the pod's identity": {"publish": {"bucket": "az://company"}},
    "a run of MLflow": {
        "tracking": {"mlflow": {"uri": "https://mlflow.example:8443/team-a/", "experiment": "search", "runName": "1"}}
    },
    "a run of MLflow with a Secret": {
        "tracking": {"mlflow": {"uri": "http://[fd00::1]:5000", "experiment": "search", "secretName": "mlflow"}}
    },
    "a run of Weights & Biases": {"tracking": {"wandb": {"project": "search", "secretName": "wandb"}}},
    "a run on a server of Weights & Biases of one's own": {
        "tracking": {
            "wandb": {"project": "p", "entity": "team", "baseUrl": "https://wandb.example", "secretName": "wandb"}
        }
    },
    "publish whatever it reaches": {"data__evaluation": EVALUATION, "publish": PUBLISH | {"always": True}},
    "publish by a gate and not always": {
        "data__evaluation": EVALUATION,
        "publish": PUBLISH | {"gate": {}, "always": False},
    },
    "an evaluation share": {"evaluation": {"every": "5%"}},
    "evaluation steps": {"evaluation": {"every": 50}},
    "shares": {"training__sharding": "Optimizer"},
    "full shares": {"training__sharding": "Full"},
    "checkpoints by the clock and by steps": {"checkpoint": {"everyMinutes": 1440, "everySteps": 1, "keep": 1}},
    "limits of waiting": {
        "schedule": {
            "queueName": "gpus",
            "queuePriorityClassName": "low",
            "queueTimeoutSeconds": 1,
            "gangTimeoutSeconds": 60,
        }
    },
    "limits of prepare and of publishing": {"prepareTimeoutSeconds": 60, "publishTimeoutSeconds": 60},
    "a sub path of an existing claim": {"storage": {"existingClaim": "shared", "subPath": "team/a"}},
    "the whole of an existing claim": {"storage": {"existingClaim": "pages-1f0c7a52-workspace", "subPath": "."}},
    "a volume that is kept": {"storage": {"retain": "Always"}},
    "a volume that goes with the job": {"storage": {"retain": "WithJob"}},
    "the folder that another job was given": {
        "storage": {"existingClaim": "shared", "subPath": ".finetune/search/qwen-666ff6cc"}
    },
    "a router by task": {"model": {"router": {"by": "Task", "routes": {"query": ROUTE, "document": ROUTE}}}},
    "a router by modality": {"model": {"router": {"routes": {"text": ROUTE, "image": ROUTE}}}},
    "modules of its own": {"model__modules": [{"type": "Transformer"}, {"type": "Pooling"}]},
    "a reranker of three classes": {"model__kind": "Reranker", "model__numLabels": 3},
    "adapters": {"model__lora": {"rank": 8}},
    "a reranker on labeled pairs": {
        "model__kind": "Reranker",
        "training__loss": {"name": "BinaryCrossEntropyLoss"},
        "data__train__0__columns": {"query": "q", "document": "d", "label": "l"},
    },
    "a row of documents with labels": {
        "model__kind": "Reranker",
        "training__loss": {"name": "LambdaLoss"},
        "data__train__0__columns": {"documents": "d", "label": "l"},
    },
    "a labeled evaluation set": {
        "data__evaluation": [EVALUATION[0] | {"columns": {"document": "d", "label": "l"}, "evaluator": "Reranking"}]
    },
    "a guided loss": {"training__loss": {"name": "GISTEmbedLoss", "guide": {"source": "hf://acme/guide"}}},
    "a set's own guided loss": {
        "data__train__0__loss": {"name": "GISTEmbedLoss", "guide": {"source": "hf://acme/guide"}}
    },
    "a set's own dims": {"data__train__0__loss": {"matryoshkaDimensions": [64, 32]}},
    "negatives that another model mines": {"data__train__0__mineNegatives": {"source": "hf://acme/miner"}},
    "rows with negatives": {"data__train__0__columns": {"negatives": ["n1", "n2"]}},
    "weighted dims": {"training__loss": {"matryoshkaDimensions": [64, 32], "matryoshkaWeights": [1, 0.5]}},
    "several sets, each with a loss": {
        "data__train": [
            {"name": "a", "source": "hf://acme/a", "loss": {"name": "TripletLoss"}},
            {"name": "b", "source": "hf://acme/b", "mineNegatives": {"numNegatives": 2}},
        ]
    },
    "dot products of an embedding model": {"model__similarity": "Dot"},
    "further metrics": {"evaluation": {"alsoReport": ["recall@100", "mrr@5"]}},
    "a metric without k": {"evaluation": {"metric": "spearman"}},
    "a confident gate": {"data__evaluation": EVALUATION, "publish": PUBLISH | {"gate": {"confidence": 0.9}}},
    "hosts of images": {"data__allowImageUrls": ["images.example.org"]},
    "one split in two": {
        "data__train__0__split": "train[:95%]",
        "data__evaluation": [EVALUATION[0] | {"split": "train[95%:]"}],
    },
    "rows of a split": {"data__train__0__split": "train[1000:-1000]"},
    "a sum of slices": {"data__train__0__split": "train + validation[10%:20%](pct1_dropremainder)+test[-5%:]"},
    "a share that is held out": {"data__train__0__holdOut": "5%", "publish": PUBLISH | {"gate": {}}},
    "a small share that is held out": {"data__train__0__holdOut": "0.25%"},
    "rows that are held out": {"data__train__0__holdOut": 500},
    "three tables": {
        "data__evaluation": [
            {
                "name": "eval",
                "source": "hf://acme/pages",
                "tables": {
                    "queries": {"split": "test"},
                    "corpus": {"split": "test"},
                    "relevantDocuments": {"split": "test"},
                },
            }
        ]
    },
}

TABLES = {name: {"split": "test"} for name in ("queries", "corpus", "relevantDocuments")}
SPLIT_FIX = "write a split as train, a slice of it as train[:95%] or train[1000:]"

NO_ADDRESS = "write http:// or https:// with a host, for example https://mlflow.example.com; user, password and token"
REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    **pod_templates.REJECTED,
    "a tracking without a tracker": (
        {"tracking": {}},
        "spec.tracking.mlflow: Invalid value: give either mlflow or wandb; a job has one tracker",
    ),
    "two trackers": (
        {
            "tracking": {
                "mlflow": {"uri": "https://mlflow.example", "experiment": "e"},
                "wandb": {"project": "p", "secretName": "wandb"},
            }
        },
        "spec.tracking.mlflow: Invalid value: give either mlflow or wandb; a job has one tracker",
    ),
    "a tracker in a folder": (
        {"tracking": {"mlflow": {"uri": "file:///mlruns", "experiment": "e"}}},
        f'spec.tracking.mlflow.uri: Invalid value: "file:///mlruns": {NO_ADDRESS}',
    ),
    "a password in an address": (
        {"tracking": {"mlflow": {"uri": "https://me:secret@mlflow.example", "experiment": "e"}}},
        f'spec.tracking.mlflow.uri: Invalid value: "https://me:secret@mlflow.example": {NO_ADDRESS}',
    ),
    "a server of Weights & Biases without a scheme": (
        {"tracking": {"wandb": {"project": "p", "baseUrl": "wandb.example", "secretName": "wandb"}}},
        f'spec.tracking.wandb.baseUrl: Invalid value: "wandb.example": {NO_ADDRESS}',
    ),
    "Weights & Biases without a key": (
        {"tracking": {"wandb": {"project": "p"}}},
        "spec.tracking.wandb.secretName: Required value",
    ),
    "MLflow without an experiment": (
        {"tracking": {"mlflow": {"uri": "https://mlflow.example"}}},
        "spec.tracking.mlflow.experiment: Required value",
    ),
    "a gang that gives its nodes back at once": (
        {"schedule": {"gangTimeoutSeconds": 59}},
        "spec.schedule.gangTimeoutSeconds: Invalid value: 59: spec.schedule.gangTimeoutSeconds in body should be",
    ),
    "no time in the queue": (
        {"schedule": {"queueTimeoutSeconds": 0}},
        "spec.schedule.queueTimeoutSeconds: Invalid value: 0: spec.schedule.queueTimeoutSeconds in body should be",
    ),
    "a priority class without a name": (
        {"schedule": {"queuePriorityClassName": ""}},
        'spec.schedule.queuePriorityClassName: Invalid value: "": '
        "spec.schedule.queuePriorityClassName in body should be at least 1 chars long",
    ),
    "no time for a collective": (
        {"collectiveTimeoutSeconds": 29},
        "spec.collectiveTimeoutSeconds: Invalid value: 29: spec.collectiveTimeoutSeconds in body should be greater",
    ),
    "no time to prepare": (
        {"prepareTimeoutSeconds": 59},
        "spec.prepareTimeoutSeconds: Invalid value: 59: spec.prepareTimeoutSeconds in body should be greater",
    ),
    "no time to publish": (
        {"publishTimeoutSeconds": 59},
        "spec.publishTimeoutSeconds: Invalid value: 59: spec.publishTimeoutSeconds in body should be greater",
    ),
    "a bound of rows and one of percent": (
        {"data__train__0__split": "train[10%:200]"},
        f'spec.data.train[0].split: Invalid value: "train[10%:200]": {SPLIT_FIX}',
    ),
    "more than all rows": (
        {"data__evaluation": [EVALUATION[0] | {"split": "train[:101%]"}]},
        f'spec.data.evaluation[0].split: Invalid value: "train[:101%]": {SPLIT_FIX}',
    ),
    **{
        f"a slice of no known form of {table}": (
            {"data__evaluation": [{**EVALUATION_TABLES, "tables": TABLES | {table: {"split": "test[5]"}}}]},
            f'spec.data.evaluation[0].tables.{table}.split: Invalid value: "test[5]": {SPLIT_FIX}',
        )
        for table in TABLES
    },
    "all rows held out": (
        {"data__train__0__holdOut": "100%"},
        'spec.data.train[0].holdOut: Invalid value: "100%": spec.data.train[0].holdOut in body should match',
    ),
    "no rows held out": (
        {"data__train__0__holdOut": 0},
        "spec.data.train[0].holdOut: Invalid value: 0: spec.data.train[0].holdOut in body should be greater",
    ),
    "a long name of a set that holds out": (
        {"data__train__0__holdOut": "5%", "data__train__0__name": "n" * 55},
        "with holdOut a name has at most 54 characters: -held-out is added to it",
    ),
    "a source of no known form": (
        {"model__source": "ftp://bucket/model"},
        'spec.model.source: Invalid value: "ftp://bucket/model": write hf://OWNER/NAME for a Hub repository',
    ),
    "a bucket's path that leads up": (
        {"data__train__0__source": "s3://bucket/../other"},
        'spec.data.train[0].source: Invalid value: "s3://bucket/../other": write hf://OWNER/NAME for a Hub repository',
    ),
    "a Secret that cannot be": (
        {"buckets": {"secretName": "Keys"}},
        'spec.buckets.secretName: Invalid value: "Keys": spec.buckets.secretName in body should match',
    ),
    "a source outside its claim": (
        {"model__source": "pvc://models/../other"},
        'spec.model.source: Invalid value: "pvc://models/../other": write hf://OWNER/NAME for a Hub repository',
    ),
    "a dataset source without owner": (
        {"data__train__0__source": "hf://pages"},
        'spec.data.train[0].source: Invalid value: "hf://pages": write hf://OWNER/NAME',
    ),
    "ascending dims": (
        {"training__loss": {"matryoshkaDimensions": [64, 256]}},
        "spec.training.loss.matryoshkaDimensions: Invalid value: matryoshkaDimensions must be descending",
    ),
    "repeated dims": (
        {"training__loss": {"matryoshkaDimensions": [64, 64]}},
        "spec.training.loss.matryoshkaDimensions[1]: Duplicate value: 64",
    ),
    "two nodes with ReadWriteOnce": (
        {"resources": {"nodes": 2}},
        "resources.nodes above 1 needs storage.accessMode ReadWriteMany: every node writes to one volume",
    ),
    "more nodes at least than at most": (
        {"resources": {"nodes": 2, "minNodes": 3}, "storage": {"accessMode": "ReadWriteMany"}},
        "spec.resources.minNodes: Invalid value: minNodes is the fewest of resources.nodes with which a gang may go on",
    ),
    "no node at all": (
        {"resources": {"minNodes": 0}},
        "spec.resources.minNodes: Invalid value: 0: spec.resources.minNodes in body should be greater than or equal",
    ),
    "two nodes with ReadWriteOncePod": (
        {"resources": {"nodes": 2}, "storage": {"accessMode": "ReadWriteOncePod"}},
        "resources.nodes above 1 needs storage.accessMode ReadWriteMany: every node writes to one volume",
    ),
    "an access mode that nobody can write with": (
        {"storage": {"accessMode": "ReadOnlyMany"}},
        'spec.storage.accessMode: Unsupported value: "ReadOnlyMany": supported values: "ReadWriteOnce", '
        '"ReadWriteOncePod", "ReadWriteMany"',
    ),
    "a gate for what is published always": (
        {"data__evaluation": EVALUATION, "publish": PUBLISH | {"gate": {}, "always": True}},
        "spec.publish.always: Invalid value: publish.always publishes whatever was measured, and publish.gate does "
        "not; leave one of them out",
    ),
    "a gate without an evaluation set": (
        {"publish": PUBLISH | {"gate": {}}},
        "publish.gate compares with the base model; add data.evaluation, or holdOut to a training set, and leave "
        "evaluation.baseline true",
    ),
    "a gate without a baseline of what is held out": (
        {"data__train__0__holdOut": 5, "publish": PUBLISH | {"gate": {}}, "evaluation": {"baseline": False}},
        "publish.gate compares with the base model",
    ),
    "a gate without a baseline": (
        {"data__evaluation": EVALUATION, "publish": PUBLISH | {"gate": {}}, "evaluation": {"baseline": False}},
        "publish.gate compares with the base model",
    ),
    "an evaluation share above all": (
        {"evaluation": {"every": "200%"}},
        'spec.evaluation.every: Invalid value: "200%": every must be a number of steps (at least 1) or a share',
    ),
    "an evaluation every zero steps": (
        {"evaluation": {"every": 0}},
        "every must be a number of steps (at least 1) or a share",
    ),
    "shares of something else": (
        {"training__sharding": "Gradients"},
        'spec.training.sharding: Unsupported value: "Gradients": supported values: "Auto", "None", "Optimizer", "Full"',
    ),
    "checkpoints all the time": (
        {"checkpoint": {"everyMinutes": 0}},
        "spec.checkpoint.everyMinutes: Invalid value: 0: spec.checkpoint.everyMinutes in body should be greater",
    ),
    "checkpoints less than once a day": (
        {"checkpoint": {"everyMinutes": 1441}},
        "spec.checkpoint.everyMinutes: Invalid value: 1441: spec.checkpoint.everyMinutes in body should be less",
    ),
    "an evaluation set in both forms": (
        {
            "data__evaluation": [
                EVALUATION[0]
                | {
                    "tables": {
                        "queries": {"split": "a"},
                        "corpus": {"split": "a"},
                        "relevantDocuments": {"split": "a"},
                    }
                }
            ]
        },
        "give either columns (rows of query and documents) or tables",
    ),
    "an evaluation set in no form": (
        {"data__evaluation": [{"name": "eval", "source": "hf://acme/pages"}]},
        "give either columns (rows of query and documents) or tables",
    ),
    "a router and a source": (
        {"model__router": {"routes": {"text": ROUTE, "image": ROUTE}}},
        "spec.model.source: Invalid value: give either source or router: a router's routes have sources",
    ),
    "neither router nor source": ({"model": {"revision": "main"}}, "give either source or router"),
    "a router of a reranker": (
        {"model": {"kind": "Reranker", "router": {"routes": {"text": ROUTE, "image": ROUTE}}}},
        "router goes with kind Embedding, and without modules and lora; its routes have modules of their own",
    ),
    "a router with adapters": (
        {"model": {"lora": {}, "router": {"routes": {"text": ROUTE, "image": ROUTE}}}},
        "router goes with kind Embedding, and without modules and lora",
    ),
    "labels of an embedding model": ({"model__numLabels": 3}, "numLabels goes with kind Reranker"),
    "routes of other names": (
        {"model": {"router": {"by": "Task", "routes": {"text": ROUTE, "image": ROUTE}}}},
        "routes are named query and document with by: Task, text and image with by: Modality",
    ),
    "one route": (
        {"model": {"router": {"routes": {"text": ROUTE}}}},
        "spec.model.router.routes: Invalid value: 1: spec.model.router.routes in body should have at least 2 prop",
    ),
    "rows of two forms": (
        {"data__train__0__columns": {"positive": "p", "document": "d"}},
        "give one of positive, document and documents: rows have one form",
    ),
    "documents without labels": (
        {"data__train__0__columns": {"documents": "d"}},
        "documents need label: a column with a list of numbers, one per document",
    ),
    "negatives of a pair": (
        {"data__train__0__columns": {"query": "q", "document": "d", "label": "l", "negatives": ["other"]}},
        "negatives go with query and positive, not with document or documents",
    ),
    "an evaluation row of two forms": (
        {"data__evaluation": [EVALUATION[0] | {"columns": {"positive": "p", "documents": "d", "label": "l"}}]},
        "give one of positive, document and documents: rows have one form",
    ),
    "a measured pair without a label": (
        {"data__evaluation": [EVALUATION[0] | {"columns": {"document": "d"}}]},
        "document and documents need label: a column of numbers, or of lists of numbers",
    ),
    "a guide without a guided loss": (
        {"training__loss": {"guide": {"source": "hf://acme/guide"}}},
        "guide goes with GISTEmbedLoss and CachedGISTEmbedLoss, and they need one",
    ),
    "a guided loss without a guide": (
        {"training__loss": {"name": "CachedGISTEmbedLoss"}},
        "guide goes with GISTEmbedLoss and CachedGISTEmbedLoss, and they need one",
    ),
    "a weight too few": (
        {"training__loss": {"matryoshkaDimensions": [64, 32], "matryoshkaWeights": [1]}},
        "matryoshkaWeights needs one weight per entry of matryoshkaDimensions",
    ),
    "a loss that never existed": (
        {"training__loss": {"name": "BestLoss"}},
        'spec.training.loss.name: Unsupported value: "BestLoss": supported values: "ADRMSELoss"',
    ),
    "a host with a path": (
        {"data__allowImageUrls": ["example.org/images"]},
        "spec.data.allowImageUrls[0]: Invalid value",
    ),
    "a folder outside of the claim": (
        {"storage": {"existingClaim": "shared", "subPath": "a/.."}},
        "spec.storage.subPath: Invalid value",
    ),
    "a way of keeping volumes that there is not": (
        {"storage": {"retain": "Never"}},
        'spec.storage.retain: Unsupported value: "Never": supported values: "UntilPublished", ',
    ),
    "a sub path without a claim": ({"storage": {"subPath": "a"}}, "subPath needs existingClaim"),
    "a repository without owner": (
        {"publish": PUBLISH | {"repository": "model"}},
        'spec.publish.repository: Invalid value: "model": repository must be OWNER/NAME',
    ),
    "a target that is no bucket": (
        {"publish": {"bucket": "company/models"}},
        'spec.publish.bucket: Invalid value: "company/models": write s3://BUCKET/PATH',
    ),
    "an artifact without a tag": (
        {"publish": {"registry": "oci://registry.example/team/model"}},
        'spec.publish.registry: Invalid value: "oci://registry.example/team/model": write oci://HOST/PATH:TAG',
    ),
    "an artifact without a host": (
        {"publish": {"registry": "oci://model:v1"}},
        'spec.publish.registry: Invalid value: "oci://model:v1": write oci://HOST/PATH:TAG',
    ),
    "a bucket and a registry": (
        {"publish": {"bucket": "s3://company/models", "registry": "oci://registry.example/model:v1"}},
        "spec.publish.repository: Invalid value: give one of repository, on the Hub, bucket and registry",
    ),
    "two targets": (
        {"publish": PUBLISH | {"bucket": "s3://company/models"}},
        "spec.publish.repository: Invalid value: give one of repository, on the Hub, bucket and registry",
    ),
    "no target": (
        {"publish": {"private": True}},
        "spec.publish.repository: Invalid value: give one of repository, on the Hub, bucket and registry",
    ),
    "a repository without a token": (
        {"publish": {"repository": "acme/model"}},
        "spec.publish.tokenSecret: Invalid value: repository needs tokenSecret, a write token of the Hub",
    ),
    "a bucket with a token of the Hub": (
        {"publish": {"bucket": "s3://company/models", "tokenSecret": {"name": "hub-token"}}},
        "spec.publish.tokenSecret: Invalid value: repository needs tokenSecret",
    ),
    "keys of a bucket for a repository": (
        {"publish": PUBLISH | {"secretName": "company-s3"}},
        "spec.publish.secretName: Invalid value: secretName goes with bucket and registry, whose keys it has",
    ),
    "a repository of two dashes": (
        {"publish": PUBLISH | {"repository": "acme/a--b"}},
        'spec.publish.repository: Invalid value: "acme/a--b": repository must be OWNER/NAME',
    ),
    "a repository that ends like a git folder": (
        {"publish": PUBLISH | {"repository": "acme/a.git"}},
        'spec.publish.repository: Invalid value: "acme/a.git": repository must be OWNER/NAME',
    ),
    "a repository with a long name": (
        {"publish": PUBLISH | {"repository": f"acme/{'a' * 97}"}},
        "repository must be OWNER/NAME",
    ),
    "a source that the Hub cannot have": (
        {"model__source": "hf://acme/a..b"},
        'spec.model.source: Invalid value: "hf://acme/a..b": write hf://OWNER/NAME for a Hub repository',
    ),
    "a source with a long name": (
        {"model__source": f"hf://acme/{'a' * 97}"},
        "write hf://OWNER/NAME for a Hub repository",
    ),
    "an unknown field": ({"training__epochs": 3}, 'unknown field "spec.training.epochs"'),
    "a number out of range": (
        {"training__learningRate": 2},
        "spec.training.learningRate: Invalid value: 2: spec.training.learningRate in body should be less than or equal",
    ),
    "no training set": (
        {"data__train": []},
        "spec.data.train: Invalid value: 0: spec.data.train in body should have at",
    ),
    "a metric of no known form": (
        {"evaluation": {"metric": "ndcg"}},
        'spec.evaluation.metric: Invalid value: "ndcg": write ndcg@k, mrr@k, recall@k',
    ),
    "a further metric of no known form": (
        {"evaluation": {"alsoReport": ["recall@"]}},
        'spec.evaluation.alsoReport[0]: Invalid value: "recall@": write ndcg@k, mrr@k, recall@k',
    ),
    "a further metric twice": (
        {"evaluation": {"alsoReport": ["mrr@5", "mrr@5"]}},
        'spec.evaluation.alsoReport[1]: Duplicate value: "mrr@5"',
    ),
    "a reranker that compares embeddings": (
        {"model": {"kind": "Reranker", "source": "hf://acme/base", "similarity": "Dot"}},
        "similarity goes with kind Embedding: a reranker compares no embeddings",
    ),
    "an evaluation source of no known form": (
        {"data__evaluation": [EVALUATION[0] | {"source": "pages"}]},
        'spec.data.evaluation[0].source: Invalid value: "pages": write hf://OWNER/NAME',
    ),
    "a route's source of no known form": (
        {"model": {"router": {"routes": {"text": {"source": "encoder"}, "image": ROUTE}}}},
        'spec.model.router.routes[text].source: Invalid value: "encoder": write hf://OWNER/NAME',
    ),
    "a miner's source of no known form": (
        {"data__train__0__mineNegatives": {"source": "miner"}},
        'spec.data.train[0].mineNegatives.source: Invalid value: "miner": write hf://OWNER/NAME',
    ),
    "a guide's source of no known form": (
        {"training__loss": {"name": "GISTEmbedLoss", "guide": {"source": "guide"}}},
        'spec.training.loss.guide.source: Invalid value: "guide": write hf://OWNER/NAME',
    ),
    "a set's own guided loss without a guide": (
        {"data__train__0__loss": {"name": "GISTEmbedLoss"}},
        "guide goes with GISTEmbedLoss and CachedGISTEmbedLoss, and they need one",
    ),
    "a set's own guide's source of no known form": (
        {"data__train__0__loss": {"name": "GISTEmbedLoss", "guide": {"source": "guide"}}},
        'spec.data.train[0].loss.guide.source: Invalid value: "guide": write hf://OWNER/NAME',
    ),
    "a set's own weight too few": (
        {"data__train__0__loss": {"matryoshkaDimensions": [64, 32], "matryoshkaWeights": [1]}},
        "matryoshkaWeights needs one weight per entry of matryoshkaDimensions",
    ),
    "a set's own ascending dims": (
        {"data__train__0__loss": {"matryoshkaDimensions": [64, 256]}},
        "spec.data.train[0].loss.matryoshkaDimensions: Invalid value: matryoshkaDimensions must be descending",
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_the_api_server_accepts(case: str, kubectl: Kubectl, job: Manifest) -> None:
    stored = submit(kubectl, change(job, **ACCEPTED[case]))

    assert stored["kind"] == "FinetuneJob"


@pytest.mark.parametrize("case", REJECTED)
def test_the_api_server_rejects_with_what_to_do(case: str, kubectl: Kubectl, job: Manifest) -> None:
    changes, message = REJECTED[case]

    with pytest.raises(KubectlError) as refused:
        submit(kubectl, change(job, **changes))

    assert message in str(refused.value)


WHOLE_ANSWERS: dict[str, str] = {
    "a source of no known form": 'spec.model.source: Invalid value: "ftp://bucket/model": write hf://OWNER/NAME for a '
    "Hub repository, pvc://CLAIM/PATH for a folder on a volume claim, or s3://BUCKET/PATH, gs://BUCKET/PATH or "
    "az://CONTAINER/PATH for one in a bucket",
    "ascending dims": "spec.training.loss.matryoshkaDimensions: Invalid value: matryoshkaDimensions must be descending "
    "and unique; write the largest first, for example [768, 256, 64]",
    "two nodes with ReadWriteOnce": "spec.resources.nodes: Invalid value: resources.nodes above 1 needs "
    "storage.accessMode ReadWriteMany: every node writes to one volume",
    "a number out of range": "spec.training.learningRate: Invalid value: 2: spec.training.learningRate in body should "
    "be less than or equal to 1",
    "an unknown field": 'unknown field "spec.training.epochs"',
}


@pytest.mark.parametrize("case", WHOLE_ANSWERS)
def test_an_answer_of_the_api_server_has_path_value_and_fix(case: str, kubectl: Kubectl, job: Manifest) -> None:
    changes, _ = REJECTED[case]

    with pytest.raises(KubectlError) as refused:
        submit(kubectl, change(job, **changes))

    assert WHOLE_ANSWERS[case] in str(refused.value).splitlines()[-1]


def test_fifteen_lines_are_a_whole_job_because_everything_else_has_a_default(kubectl: Kubectl, job: Manifest) -> None:
    stored = submit(kubectl, job)

    assert stored["status"] == {"observedGeneration": -1}
    assert stored["spec"]["resources"] == {
        "nodes": 1,
        "accelerator": {"name": "nvidia.com/gpu", "perNode": 1},
        "requests": {"cpu": "4", "memory": "16Gi"},
        "sharedMemory": "2Gi",
    }
    assert stored["spec"]["training"] == {
        "loss": {"name": "CachedMultipleNegativesRankingLoss"},
        "numTrainEpochs": 1,
        "perDeviceTrainBatchSize": 32,
        "learningRate": 2e-5,
        "warmupRatio": 0.1,
        "sharding": "Auto",
        "seed": 42,
    }


def test_an_explicit_null_is_an_absent_field(kubectl: Kubectl, job: Manifest) -> None:
    stored = submit(kubectl, change(job, schedule={"queueName": None, "priorityClassName": None}))

    assert stored["spec"]["schedule"] == {"gangTimeoutSeconds": 600}


@pytest.fixture
def existing(kubectl: Kubectl, job: Manifest) -> Iterator[Manifest]:
    created = change(
        job,
        suspend=True,
        publish=PUBLISH,
        storage={"size": "50Gi", "storageClassName": "fast"},
        model__processorKwargs={"size": {"longest_edge": 4096}},
    )
    kubectl.apply(created)
    yield created
    kubectl.delete("finetunejob", "job", namespace=NAMESPACE)


def replace(kubectl: Kubectl, manifest: Manifest) -> None:
    import yaml

    kubectl.run("replace", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(manifest))


REFUSED_CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("model", {"model__revision": "v2"}),
    ("model", {"model__processorKwargs": {"size": {"longest_edge": 8192}}}),
    ("data", {"data__train__0__split": "other"}),
    ("training", {"training__seed": 1}),
    ("training", {"training__loss": {"arguments": {"scale": 30}}}),
    ("evaluation", {"evaluation__metric": "mrr@10"}),
    ("resources.nodes", {"resources__nodes": 2, "storage__accessMode": "ReadWriteMany"}),
    ("resources.minNodes", {"resources__minNodes": 1}),
    ("resources.accelerator", {"resources__accelerator": {"perNode": 2}}),
    ("resources.accelerator", {"resources__accelerator": {"name": "amd.com/gpu"}}),
    ("storage.storageClassName", {"storage__storageClassName": "slow"}),
    ("storage.storageClassName", {"storage__storageClassName": None}),
    ("storage.accessMode", {"storage__accessMode": "ReadWriteMany"}),
    ("storage.existingClaim", {"storage__existingClaim": "shared"}),
    ("storage.subPath", {"storage__existingClaim": "shared", "storage__subPath": "team/a"}),
]
#: Fields that may change while a job runs or once it has ended, and what else of them may not.
ACCEPTED_CHANGES: dict[str, dict[str, Any]] = {
    "another read token": {"hub": {"tokenSecret": {"name": "other"}}},
    "another Secret of buckets": {"buckets": {"secretName": "other"}},
    "more memory": {"resources__requests": {"memory": "32Gi"}, "resources__sharedMemory": "4Gi"},
    "a larger volume": {"storage__size": "1Ti"},
    "a volume that is kept": {"storage__retain": "Always"},
    "the same volume in another unit": {"storage__size": "51200Mi"},
    "other checkpoints": {"checkpoint": {"everyMinutes": 30, "everySteps": 10, "keep": 5}},
    "another repository and no gate": {"publish": PUBLISH | {"repository": "acme/other", "always": True}},
    "nothing is published": {"publish": None},
    "another queue": {"schedule": {"queueName": "q", "priorityClassName": "high", "nodeSelector": {"pool": "h200"}}},
    "another image": {"image": "registry.example/another:1"},
    "other additions to pods": {"podTemplate": {"train": {"terminationGracePeriodSeconds": 600}}},
    "more patience": {
        "stallTimeoutSeconds": 7200,
        "collectiveTimeoutSeconds": 9000,
        "activeDeadlineSeconds": 10,
        "retry": {"userErrors": 3},
    },
    "another tracker": {"tracking": {"wandb": {"project": "p", "secretName": "wandb"}}},
    "another run": {"suspend": False, "rerun": "again", "ttlSecondsAfterFinished": 5},
}


def test_a_misspelt_field_gets_lost_where_a_client_asks_for_no_validation(kubectl: Kubectl, job: Manifest) -> None:
    misspelt = change(copy.deepcopy(job), training__epochs=3)

    stored = submit(kubectl, misspelt, "--validate=ignore")

    assert stored["spec"] == submit(kubectl, job)["spec"]


@pytest.mark.parametrize(("field", "changes"), REFUSED_CHANGES)
def test_what_is_trained_is_immutable(
    kubectl: Kubectl, existing: Manifest, field: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(KubectlError) as refused:
        replace(kubectl, change(copy.deepcopy(existing), **changes))

    words = f"spec.{field} is immutable once the job exists; create a new FinetuneJob with the change"
    assert re.search(rf"spec\.{field}: Invalid value: (\d+: |\"\w+\": )?{words}", str(refused.value))


@pytest.mark.parametrize("size", ["49Gi", "50G", "500m"])
def test_a_volume_does_not_shrink(kubectl: Kubectl, existing: Manifest, size: str) -> None:
    with pytest.raises(KubectlError) as refused:
        replace(kubectl, change(copy.deepcopy(existing), storage__size=size))

    words = "spec.storage.size may only grow once the job exists, as volumes do not shrink; leave it as it was"
    assert f'spec.storage.size: Invalid value: "{size}": {words}' in str(refused.value)


@pytest.mark.parametrize("case", ACCEPTED_CHANGES)
def test_how_a_job_is_run_may_change(kubectl: Kubectl, existing: Manifest, case: str) -> None:
    replace(kubectl, change(copy.deepcopy(existing), **ACCEPTED_CHANGES[case]))
