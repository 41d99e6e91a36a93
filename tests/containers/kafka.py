"""Kafka in a container, on the host's network, as docker/compose.yaml would set it up."""

import os
from typing import Any

from testcontainers.core.container import DockerContainer

from connectors.embedded.host import free_port
from connectors.embedded.settings import new_cluster_id


def kafka_container(image: str, port: int, data_volume: str) -> DockerContainer:
    """Describe a single node that listens on loopback.

    Args:
        image: apache/kafka, or anything that reads the same variables.
        port: Where clients come in.
        data_volume: Where its data are; another container may go on with them.
    """
    controller = free_port()
    settings = {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "LISTENERS": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "CONTROLLER_QUORUM_VOTERS": f"1@127.0.0.1:{controller}",
        "INTER_BROKER_LISTENER_NAME": "PLAINTEXT",
        "LOG_DIRS": "/var/lib/kafka/data",
        "AUTO_CREATE_TOPICS_ENABLE": "false",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }
    container = on_host(image).with_volume_mapping(data_volume, "/var/lib/kafka/data", "rw")
    container.with_env("CLUSTER_ID", CLUSTER_ID)
    for name, value in settings.items():
        container.with_env(f"KAFKA_{name}", value)
    return container


CLUSTER_ID = new_cluster_id()


def on_host(image: str, **options: Any) -> DockerContainer:
    """Describe a container that shares the host's network: its loopback is ours."""
    return DockerContainer(image, **options).with_kwargs(network_mode="host", labels=LABELS)


LABELS = {"dwcp-tests": str(os.getpid())}
