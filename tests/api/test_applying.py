"""What the operator applies, on the real API server, which reads it as YAML."""

import pytest
from kubernetes.aio import client, config

from finetune_operator.shell.wire import APPLY, Call, Wire
from tests.stack.kubectl import Kubectl

pytestmark = pytest.mark.api_server
PATH = "/api/v1/namespaces/default/configmaps/any-character"
#: What JSON escapes with two codes, what YAML does not take or takes for a line break, and what looks like an escape.
TEXT = '\U0001f917 \x7f \x85 \u2028 \ufeff \x1b[0m \\ud83e \\ " na\u00efve \n'


async def test_any_character_can_be_applied(kubectl: Kubectl) -> None:
    configuration = client.Configuration()
    await config.load_kube_config(kubectl.kubeconfig, client_configuration=configuration)
    wire = Wire(client.ApiClient(configuration))
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "any-character"}, "data": {"text": TEXT}}

    try:
        query = {"fieldManager": "test", "force": "true"}
        written = await wire.request(Call(method="PATCH", path=PATH, query=query, body=body, content=APPLY))
    finally:
        await wire.close()
        kubectl.delete("configmap", "any-character", namespace="default")

    assert written["data"] == {"text": TEXT}
