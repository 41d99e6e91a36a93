"""Entities as they are born in the generator's cluster: VM, Kubernetes node, pod.

The keys are those that OpenStack's compute API and Kubernetes use, for the sake of realistic
sizes and nesting (about 2.5, 6 and 3 KB of compact JSON); every value is made up here.
"""

import random
from datetime import UTC, datetime
from typing import Any

Document = dict[str, Any]

_APPS = ("checkout", "search", "ledger", "mailer", "thumbnails", "gateway", "recommender", "audit")
_ZONES = ("zone-a", "zone-b", "zone-c")
_FLAVORS = (("c1.small", 1, 2048), ("c1.medium", 2, 4096), ("c2.large", 4, 16384))
_HEALTHY = {
    "MemoryPressure": ("False", "enough memory is free"),
    "DiskPressure": ("False", "enough disk space is free"),
    "PIDPressure": ("False", "enough process ids are free"),
    "NetworkUnavailable": ("False", "routes to all other nodes are set"),
    "Ready": ("True", "the agent reports and takes pods"),
}


def iso_time(time_ms: int) -> str:
    """Write a time as both APIs do: UTC, whole seconds."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def hex_id(dice: random.Random, digits: int) -> str:
    """Draw an id of so many hexadecimal digits."""
    return f"{dice.getrandbits(4 * digits):0{digits}x}"


def uuid(dice: random.Random) -> str:
    """Draw an id in the shape of a UUID."""
    digits = hex_id(dice, 32)
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def new_vm(entity: str, dice: random.Random, time_ms: int) -> Document:
    """Make a running server, with its diagnostics and the few numbers schedulers look at."""
    name, core_count, memory_mib = dice.choice(_FLAVORS)
    born = iso_time(time_ms)
    host = f"compute-{dice.randrange(400):03d}"
    return {
        "kind": "vm",
        "server": _server(entity, dice, born, host),
        "flavor": {"original_name": name, "vcpus": core_count, "ram": memory_mib, "disk": 40},
        "status": {
            "power_state": 1,
            "vm_state": "active",
            "task_state": None,
            "host": host,
            "progress": 0,
            "updated": born,
            "cpu_usage_mhz": 0,
            "memory_used_mib": memory_mib // 4,
            "network": {"rx_octets": 0, "tx_octets": 0},
        },
        "diagnostics": {
            "driver": "libvirt",
            "hypervisor": "kvm",
            "state": "running",
            "uptime": 0,
            "cpu_details": [{"id": n, "time": 0, "utilisation": 0} for n in range(core_count)],
            "disk_details": [_disk() for _ in range(2)],
            "nic_details": [_nic(dice)],
            "memory_details": {"maximum": memory_mib, "used": memory_mib // 4},
            "num_cpus": core_count,
            "num_disks": 2,
            "num_nics": 1,
        },
    }


def _server(entity: str, dice: random.Random, born: str, host: str) -> Document:
    app = dice.choice(_APPS)
    base = "https://compute.example.com/v2.1"
    return {
        "id": entity,
        "name": f"{app}-{hex_id(dice, 6)}",
        "tenant_id": hex_id(dice, 32),
        "user_id": hex_id(dice, 32),
        "hostId": hex_id(dice, 56),
        "created": born,
        "OS-EXT-AZ:availability_zone": dice.choice(_ZONES),
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{hex_id(dice, 8)}",
        "OS-EXT-SRV-ATTR:hypervisor_hostname": f"{host}.cloud.example.com",
        "OS-EXT-SRV-ATTR:root_device_name": "/dev/vda",
        "OS-SRV-USG:launched_at": born,
        "OS-DCF:diskConfig": "MANUAL",
        "accessIPv4": "",
        "accessIPv6": "",
        "addresses": {
            "tenant-net": [
                {
                    "addr": f"10.{dice.randrange(256)}.{dice.randrange(256)}.{dice.randrange(256)}",
                    "version": 4,
                    "OS-EXT-IPS:type": "fixed",
                    "OS-EXT-IPS-MAC:mac_addr": _mac(dice),
                }
            ]
        },
        "image": {"id": uuid(dice), "links": [{"rel": "bookmark", "href": f"{base}/images"}]},
        "links": [{"rel": "self", "href": f"{base}/servers/{entity}"}],
        "key_name": f"{app}-deploy",
        "locked": False,
        "config_drive": "",
        "security_groups": [{"name": "default"}, {"name": app}],
        "server_groups": [],
        "tags": [app, "prod"],
        "metadata": {"owner": f"team-{app}", "backup": "daily"},
        "os-extended-volumes:volumes_attached": [
            {"id": uuid(dice), "delete_on_termination": False}
        ],
    }


def _mac(dice: random.Random) -> str:
    return "fa:16:3e:" + ":".join(hex_id(dice, 2) for _ in range(3))


def _disk() -> Document:
    requests = {"read_requests": 0, "write_requests": 0}
    return {"read_bytes": 0, "write_bytes": 0, **requests, "errors_count": 0}


def _nic(dice: random.Random) -> Document:
    counters = ("octets", "packets", "errors", "drop", "rate")
    return {
        "mac_address": _mac(dice),
        **{f"{way}_{counter}": 0 for way in ("rx", "tx") for counter in counters},
    }


def new_node(entity: str, dice: random.Random, time_ms: int) -> Document:
    """Make a Kubernetes node that is ready, with a list of images as long as real ones have."""
    born, zone = iso_time(time_ms), dice.choice(_ZONES)
    address = f"10.0.{dice.randrange(256)}.{dice.randrange(256)}"
    conditions = [
        {
            "type": name,
            "status": status,
            "lastHeartbeatTime": born,
            "lastTransitionTime": born,
            "reason": f"Agent{name}{status}",
            "message": message,
        }
        for name, (status, message) in _HEALTHY.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": entity,
            "uid": uuid(dice),
            "resourceVersion": "1000",
            "creationTimestamp": born,
            "labels": {
                "kubernetes.io/hostname": entity,
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": zone,
                "node.kubernetes.io/instance-type": "m8.2xlarge",
                "node-role.kubernetes.io/worker": "",
            },
            "annotations": {"agent.example.com/last-drain": "", "agent.example.com/pool": "web"},
        },
        "spec": {"podCIDR": "10.128.3.0/24", "providerID": f"cloud:///{zone}/{hex_id(dice, 17)}"},
        "status": {
            "capacity": {"cpu": "8", "memory": "32663112Ki", "pods": "250"},
            "allocatable": {"cpu": "7500m", "memory": "31512136Ki", "pods": "250"},
            "usage": {"cpu_millicores": 0, "memory_kib": 0, "pod_count": 0},
            "phase": "Ready",
            "heartbeat": born,
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": entity},
            ],
            "images": [_image(dice) for _ in range(18)],
            "nodeInfo": {
                "machineID": hex_id(dice, 32),
                "systemUUID": uuid(dice),
                "bootID": uuid(dice),
                "kernelVersion": "6.12.41-cloud-amd64",
                "osImage": "Example Linux 13",
                "containerRuntimeVersion": "containerd://2.1.4",
                "kubeletVersion": "v1.34.1",
                "architecture": "amd64",
            },
        },
    }


def _image(dice: random.Random) -> Document:
    name = f"registry.example.com/{dice.choice(_APPS)}/{dice.choice(('api', 'worker', 'proxy'))}"
    tag = f"{dice.randrange(9)}.{dice.randrange(30)}.{dice.randrange(30)}"
    digest = f"{name}@sha256:{hex_id(dice, 64)}"
    return {"names": [digest, f"{name}:{tag}"], "sizeBytes": dice.randrange(10**7, 10**9)}


def new_pod(entity: str, dice: random.Random, time_ms: int) -> Document:
    """Make a running pod of two containers, the application and its proxy."""
    born, app = iso_time(time_ms), dice.choice(_APPS)
    template = hex_id(dice, 10)
    kinds = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    address = f"10.128.{dice.randrange(256)}.{dice.randrange(256)}"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": entity,
            "generateName": f"{app}-{template}-",
            "namespace": f"team-{app}",
            "uid": uuid(dice),
            "resourceVersion": "1000",
            "creationTimestamp": born,
            "labels": {"app": app, "pod-template-hash": template, "tier": "web"},
            "annotations": {"network.example.com/status": f'[{{"ips":["{address}"]}}]'},
            "ownerReferences": [
                {
                    "apiVersion": "apps/v1",
                    "kind": "ReplicaSet",
                    "name": f"{app}-{template}",
                    "uid": uuid(dice),
                    "controller": True,
                }
            ],
        },
        "spec": {
            "nodeName": f"worker-{dice.randrange(200):03d}",
            "containers": [_container(name, app) for name in ("app", "proxy")],
            "restartPolicy": "Always",
            "serviceAccountName": app,
            "priority": 0,
            "tolerations": [
                {"key": f"node.kubernetes.io/{key}", "effect": effect, "tolerationSeconds": 300}
                for key, effect in (("not-ready", "NoExecute"), ("unreachable", "NoExecute"))
            ],
            "volumes": [{"name": "settings", "configMap": {"name": app, "defaultMode": 420}}],
        },
        "status": {
            "phase": "Running",
            "usage": {"cpu_millicores": 0, "memory_kib": 0},
            "heartbeat": born,
            "ready_count": 2,
            "restart_count": 0,
            "conditions": [
                {"type": kind, "status": "True", "lastTransitionTime": born} for kind in kinds
            ],
            "hostIP": f"10.0.{dice.randrange(256)}.{dice.randrange(256)}",
            "podIP": address,
            "startTime": born,
            "containerStatuses": [
                _container_status(name, app, dice, born) for name in ("app", "proxy")
            ],
            "qosClass": "Burstable",
        },
    }


def _container(name: str, app: str) -> Document:
    return {
        "name": name,
        "image": f"registry.example.com/{app}/{name}:stable",
        "args": [f"--config=/etc/{app}/{name}.yaml", "--log-level=info"],
        "env": [{"name": "REGION_HINT", "value": "auto"}, {"name": "APP", "value": app}],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": "250m", "memory": "256Mi"},
            "limits": {"cpu": "1", "memory": "512Mi"},
        },
        "volumeMounts": [{"name": "settings", "readOnly": True, "mountPath": f"/etc/{app}"}],
        "imagePullPolicy": "IfNotPresent",
    }


def _container_status(name: str, app: str, dice: random.Random, born: str) -> Document:
    return {
        "name": name,
        "state": {"running": {"startedAt": born}},
        "ready": True,
        "restartCount": 0,
        "image": f"registry.example.com/{app}/{name}:stable",
        "imageID": f"registry.example.com/{app}/{name}@sha256:{hex_id(dice, 64)}",
        "containerID": f"containerd://{hex_id(dice, 64)}",
    }
