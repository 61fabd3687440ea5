"""The cluster's certificate authority, what it signs, and the kubeconfig files made from that."""

import base64
import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster import addresses
from tests.cluster.paths import CERTIFICATES, KUBECONFIG

AUTHORITY = CERTIFICATES / "authority.crt"
SERVICE_ACCOUNT_KEY = CERTIFICATES / "service-account.key"
SERVICE_ACCOUNT_PUBLIC_KEY = CERTIFICATES / "service-account.pub"
NUM_DAYS = 365
API_SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True)
class Authority:
    """Signs certificates; its key is held in memory and never written."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def issue(self, file_name: str, *, user: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> None:
        """Write `file_name`.crt and .key: a client certificate of `user`, and a server one for `hosts`."""
        key = ec.generate_private_key(ec.SECP256R1())
        unsigned = builder(_name(user, groups), issuer=self.certificate.subject, key=key)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        unsigned = unsigned.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            unsigned = unsigned.add_extension(names, critical=False)
        certificate = unsigned.sign(self.key, hashes.SHA256())
        (CERTIFICATES / f"{file_name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (CERTIFICATES / f"{file_name}.key").write_bytes(_key_bytes(key))


def create_all(*, nodes: Sequence[str]) -> None:
    """Write a fresh authority and every certificate and kubeconfig of a new cluster."""
    CERTIFICATES.mkdir(parents=True, exist_ok=True)
    CERTIFICATES.chmod(0o700)
    authority = _create_authority()
    host = addresses.HOST
    server_hosts = (host, "127.0.0.1", addresses.KUBERNETES_SERVICE, *API_SERVER_NAMES)
    authority.issue("api-server", user="kube-apiserver", groups=["system:masters"], hosts=server_hosts)
    clients = [("admin", "admin", ["system:masters"])]
    clients += [(name, f"system:{name}", []) for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy")]
    clients += [(name, name, ["system:masters"]) for name in ("coredns", "volumes")]
    clients += [(node, f"system:node:{node}", ["system:nodes"]) for node in nodes]
    for file_name, user, groups in clients:
        authority.issue(file_name, user=user, groups=groups, hosts=[host] if file_name in nodes else [])
        _write_kubeconfig(file_name, kubeconfig_of(file_name))
    _write_kubeconfig("admin", KUBECONFIG)
    service_accounts = ec.generate_private_key(ec.SECP256R1())
    SERVICE_ACCOUNT_KEY.write_bytes(_key_bytes(service_accounts))
    SERVICE_ACCOUNT_PUBLIC_KEY.write_bytes(
        service_accounts.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def kubeconfig_of(client: str) -> Path:
    """Return the path of the kubeconfig by which `client` reaches the API server."""
    return CERTIFICATES / f"{client}.kubeconfig"


def _create_authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("finetune-operator test cluster", [])
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    certificate = (
        builder(name, issuer=name, key=key).add_extension(constraints, critical=True).sign(key, hashes.SHA256())
    )
    AUTHORITY.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(key=key, certificate=certificate)


def builder(subject: x509.Name, *, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """Return a certificate to be extended and signed."""
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=NUM_DAYS))
    )


def _name(user: str, groups: Sequence[str]) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_kubeconfig(client: str, path: Path) -> None:
    def embedded(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    certificate, key = CERTIFICATES / f"{client}.crt", CERTIFICATES / f"{client}.key"
    cluster = {"server": addresses.API_SERVER, "certificate-authority-data": embedded(AUTHORITY)}
    user = {"client-certificate-data": embedded(certificate), "client-key-data": embedded(key)}
    name = "finetune-test"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": client, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": client}}],
        "current-context": name,
    }
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
