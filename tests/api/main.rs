//! Tier 3: the sidecar and the sample apps against real etcd, kube-apiserver and Kafka.
