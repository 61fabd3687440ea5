"""CoreDNS on the machine's cluster address: names of Services and pods, and nothing beyond the cluster."""

from pathlib import Path

from tests.cluster import addresses, processes
from tests.cluster.certificates import kubeconfig_of
from tests.cluster.paths import CLUSTER

NAME = "coredns"
# ttl 5: a pod's name resolves a second or two after its start, and a cached "no such name" must not outlive that.
COREFILE = f"""\
{addresses.CLUSTER_DOMAIN} in-addr.arpa {{
    bind {addresses.HOST}
    health 127.0.0.1:{addresses.DNS_HEALTH_PORT}
    errors
    cache 5 {{
        denial 512 1
    }}
    kubernetes {addresses.CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig_of(NAME)}
        ttl 5
    }}
}}
. {{
    bind {addresses.HOST}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def start(binaries: Path) -> None:
    """Start CoreDNS if it does not run."""
    corefile = CLUSTER / "Corefile"
    corefile.write_text(COREFILE)
    processes.start(NAME, [binaries / "coredns", "-conf", corefile])


def stop() -> None:
    """Stop CoreDNS."""
    processes.stop(NAME)
