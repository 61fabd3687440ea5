"""Acting: the cluster, the clock, the network. Holds no rule about FinetuneJobs."""
