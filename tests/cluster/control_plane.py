"""etcd, API server, controller manager, scheduler and kube-proxy: their arguments, start and stop."""

import urllib.request
from http import HTTPStatus
from pathlib import Path

import yaml

from tests.cluster import addresses, api, processes
from tests.cluster.certificates import AUTHORITY, SERVICE_ACCOUNT_KEY, SERVICE_ACCOUNT_PUBLIC_KEY, kubeconfig_of
from tests.cluster.paths import CERTIFICATES, CLUSTER, LOGS

AUDIT_LOG = LOGS / "audit.log"
# A lost node is noticed after about 20 s instead of Kubernetes' 50: nodes renew their lease every 3 s.
NODE_MONITOR_GRACE_SECONDS = 16
TOLERATION_SECONDS = 4
PROXY_HEALTH = "127.0.0.1:10256"
PROXY_SECONDS = 60
# Gangs are scheduled as a whole, which Kubernetes 1.37 does only if asked to.
GANG_SCHEDULING = "--feature-gates=GenericWorkload=true,WorkloadWithJob=true"
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy")

# Who wrote what: for tests that count an operator's writes. The cluster's own components are left out.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "verbs": ["get", "list", "watch"]},
        {"level": "None", "userGroups": ["system:nodes", "system:serviceaccounts:kube-system"]},
        {"level": "None", "users": [f"system:kube-{name}" for name in ("controller-manager", "scheduler", "proxy")]},
        {"level": "None", "users": ["system:apiserver", "volumes", "coredns"]},
        {"level": "Metadata"},
    ],
}


def start(binaries: Path) -> None:
    """Start what does not run yet but kube-proxy, and wait until the API server is ready."""
    if not processes.is_running("kube-proxy"):  # it ends itself when its configuration is written anew
        _write_configurations()
    processes.start("etcd", _etcd(binaries))
    processes.start("kube-apiserver", _api_server(binaries))
    try:
        api.wait_until(api.is_ready, seconds=60, what="API server ready")
    except TimeoutError as error:
        message = f"{error}; the end of its log:\n{processes.tail('kube-apiserver')}"
        raise SystemExit(message) from error
    processes.start("kube-controller-manager", _controller_manager(binaries))
    processes.start("kube-scheduler", _scheduler(binaries))


def start_proxy(binaries: Path) -> None:
    """Start kube-proxy and keep it alive until it serves; it gives up where its node is not known soon."""

    def serves() -> bool:
        processes.start("kube-proxy", [binaries / "kube-proxy", f"--config={CLUSTER / 'kube-proxy.yaml'}"])
        return _is_healthy(f"http://{PROXY_HEALTH}/healthz")

    try:
        api.wait_until(serves, seconds=PROXY_SECONDS, what="kube-proxy serves")
    except TimeoutError as error:
        raise SystemExit(f"{error}; the end of its log:\n{processes.tail('kube-proxy')}") from error


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def stop() -> None:
    """Stop all of it; the cluster's objects are lost, since etcd starts empty."""
    for name in reversed(NAMES):
        processes.stop(name, grace_seconds=3)


def _etcd(binaries: Path) -> list[str | Path]:
    return [
        binaries / "etcd",
        f"--data-dir={CLUSTER / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls={addresses.ETCD_CLIENT}",
        f"--advertise-client-urls={addresses.ETCD_CLIENT}",
        f"--listen-peer-urls={addresses.ETCD_PEER}",
        f"--initial-advertise-peer-urls={addresses.ETCD_PEER}",
        f"--initial-cluster=default={addresses.ETCD_PEER}",
        "--log-level=warn",
    ]


def _api_server(binaries: Path) -> list[str | Path]:
    certificate, key = CERTIFICATES / "api-server.crt", CERTIFICATES / "api-server.key"
    return [
        binaries / "kube-apiserver",
        f"--etcd-servers={addresses.ETCD_CLIENT}",
        f"--bind-address={addresses.HOST}",
        f"--advertise-address={addresses.HOST}",
        f"--service-cluster-ip-range={addresses.SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--client-ca-file={AUTHORITY}",
        f"--tls-cert-file={certificate}",
        f"--tls-private-key-file={key}",
        f"--kubelet-client-certificate={certificate}",
        f"--kubelet-client-key={key}",
        f"--kubelet-certificate-authority={AUTHORITY}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer=https://kubernetes.default.svc.{addresses.CLUSTER_DOMAIN}",
        f"--service-account-signing-key-file={SERVICE_ACCOUNT_KEY}",
        f"--service-account-key-file={SERVICE_ACCOUNT_PUBLIC_KEY}",
        f"--default-not-ready-toleration-seconds={TOLERATION_SECONDS}",
        f"--default-unreachable-toleration-seconds={TOLERATION_SECONDS}",
        "--allow-privileged",
        GANG_SCHEDULING,
        "--runtime-config=scheduling.k8s.io/v1beta1=true",
        f"--audit-policy-file={CLUSTER / 'audit-policy.yaml'}",
        f"--audit-log-path={AUDIT_LOG}",
    ]


def _controller_manager(binaries: Path) -> list[str | Path]:
    return [
        binaries / "kube-controller-manager",
        f"--kubeconfig={kubeconfig_of('kube-controller-manager')}",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={SERVICE_ACCOUNT_KEY}",
        f"--root-ca-file={AUTHORITY}",
        "--node-monitor-period=2s",
        f"--node-monitor-grace-period={NODE_MONITOR_GRACE_SECONDS}s",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--bind-address=127.0.0.1",
        GANG_SCHEDULING,
    ]


def _scheduler(binaries: Path) -> list[str | Path]:
    kubeconfig = kubeconfig_of("kube-scheduler")
    return [
        binaries / "kube-scheduler",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        GANG_SCHEDULING,
    ]


def _write_configurations() -> None:
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": addresses.POD_RANGE,
        "conntrack": {"maxPerCore": 0, "min": 0},  # limits of the machine, not to be changed from here
        "clientConnection": {"kubeconfig": str(kubeconfig_of("kube-proxy"))},
        # All nodes share the machine's network, so one proxy serves them all.
        "hostnameOverride": "node-1",
        "healthzBindAddress": PROXY_HEALTH,
        "metricsBindAddress": "127.0.0.1:10249",
    }
    LOGS.mkdir(parents=True, exist_ok=True)
    (CLUSTER / "kube-proxy.yaml").write_text(yaml.safe_dump(proxy))
    (CLUSTER / "audit-policy.yaml").write_text(yaml.safe_dump(AUDIT_POLICY))
