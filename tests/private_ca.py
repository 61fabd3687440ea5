"""A certificate authority as companies have, and the certificate of a server that it signs."""

import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.cluster.certificates import builder


@dataclass(frozen=True)
class Certified:
    """Files in PEM: what clients trust, and what the server has."""

    authority: Path
    certificate: Path
    key: Path

    def server_side(self) -> ssl.SSLContext:
        """Return what a server in Python needs."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


def certify(folder: Path, hosts: Sequence[str]) -> Certified:
    """Return a certificate for `hosts`, names or addresses, of an authority that nobody knows yet."""
    signer, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "company")])
    names = x509.SubjectAlternativeName(list(map(_general_name, hosts)))
    constraints = x509.BasicConstraints(ca=True, path_length=0)
    signed = {
        "authority": builder(authority, issuer=authority, key=signer).add_extension(constraints, critical=True),
        "server": builder(x509.Name([]), issuer=authority, key=key).add_extension(names, critical=True),
    }
    for name, unsigned in signed.items():
        certificate = unsigned.sign(signer, hashes.SHA256())
        (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(key.private_bytes(*plain))
    return Certified(folder / "authority.crt", folder / "server.crt", folder / "server.key")


def _general_name(host: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(host))
    return x509.DNSName(host)
