"""The cluster's addresses and ports; none of them leaves the machine."""

POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
# An address of the machine that exists wherever the driver runs: API server, node addresses and DNS are on it.
HOST = "10.244.255.1"
API_SERVER = f"https://{HOST}:6443"
ETCD_CLIENT = "http://127.0.0.1:12379"
ETCD_PEER = "http://127.0.0.1:12380"
DNS_HEALTH_PORT = 12081
REGISTRY = "127.0.0.1:5443"
CLUSTER_DOMAIN = "cluster.local"
