"""The machine's side of the pod network: one address for the cluster, routes, and what must be let through."""

import ipaddress
import subprocess
from pathlib import Path

from tests.cluster import addresses

HOST_DEVICE = "ft-host"
COMMENT = "finetune-operator test cluster"
CUTS = ("inet finetune-cut", "bridge finetune-cut")
CUT = "chain cut { type filter hook forward priority 0; tcp dport %d drop; };"


def bridge_of(node: str) -> str:
    """Return the name of the bridge that a node's pods are on (at most 15 characters)."""
    return f"ft-{node}"


def pod_range_of(index: int) -> str:
    """Return the addresses of the pods of the node with that number, counted from 0."""
    subnets = ipaddress.ip_network(addresses.POD_RANGE).subnets(new_prefix=24)
    return str(list(subnets)[index + 1])


def up() -> None:
    """Give the machine the cluster's address and let pods' traffic through; safe to repeat."""
    if not Path(f"/sys/class/net/{HOST_DEVICE}").exists():
        _run("ip", "link", "add", HOST_DEVICE, "type", "bridge")
    _run("ip", "address", "replace", f"{addresses.HOST}/32", "dev", HOST_DEVICE)
    _run("ip", "link", "set", HOST_DEVICE, "up")
    # Processes of the machine reach Services even where there is no default route.
    _run("ip", "route", "replace", addresses.SERVICE_RANGE, "dev", HOST_DEVICE, "src", addresses.HOST)
    for rule in _rules():
        if _run("iptables", "-C", *rule, check=False) != 0:
            _run("iptables", "-I", *rule)


def down() -> None:
    """Take back everything that `up`, the nodes' pods and kube-proxy put in place."""
    for rule in _rules():
        while _run("iptables", "-D", *rule, check=False) == 0:
            pass
    for device in sorted(Path("/sys/class/net").glob("ft-*")):
        remove_device(device.name)
    for family in ("ip", "ip6"):
        _run("nft", "delete", "table", family, "kube-proxy", check=False)


def cut_port(number: int) -> None:
    """Drop what goes to a port of any pod, as a NetworkPolicy does, which nothing here enforces; nobody is told."""
    heal_port()
    rule = CUT % number
    text = "\n".join(f"table {table} {{ {rule} }}" for table in CUTS)
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


def heal_port() -> None:
    """Let it through again."""
    for table in CUTS:
        _run("nft", "delete", "table", *table.split(), check=False)


def remove_device(name: str) -> None:
    """Remove a network device if it is there."""
    if Path(f"/sys/class/net/{name}").exists():
        _run("ip", "link", "delete", name)


def _rules() -> list[list[str]]:
    return [
        ["FORWARD", direction, addresses.POD_RANGE, "-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"]
        for direction in ("-s", "-d")
    ]


def _run(*command: str, check: bool = True) -> int:
    return subprocess.run(command, check=check, stderr=None if check else subprocess.DEVNULL).returncode
