"""Nodes of a real cluster on this machine: each a network namespace with containerd, kubelet, kube-proxy. Needs root.

The cluster's network is a bridge of the host's; the host reaches pods and Services through it, as a client would.
Nothing of it outlasts the test: processes are ended by their ids, namespaces, cgroups and mounts are taken away.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.apiserver import SERVICE_NETWORK, TOOLS, ApiServer, running

BRIDGE: Final = "mkbr0"
HOST: Final = "10.99.0.1"
DOMAIN: Final = "cluster.local"
PAUSE_IMAGE: Final = "localhost/pause:1"
CGROUPS: Final = Path("/sys/fs/cgroup")
WAIT_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Node:
    """The number names everything: `n1` is 10.99.0.11, its pods are in 10.244.1.0/24."""

    number: int
    folder: Path

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return f"n{self.number}"

    @property
    def space(self) -> str:
        """Its network namespace, and its root among the cgroups."""
        return f"mailkeep-{self.name}"

    @property
    def address(self) -> str:
        """On the bridge."""
        return f"10.99.0.1{self.number}"

    @property
    def pods(self) -> str:
        """The network of its pods."""
        return f"10.244.{self.number}.0/24"

    @property
    def token(self) -> str:
        """By which the API server knows it."""
        return f"token-{self.name}"

    @property
    def socket(self) -> Path:
        """containerd's."""
        return self.folder / "containerd.sock"

    def inside(self, *words: str | Path) -> list[str | Path]:
        """A command in its network."""
        return ["nsenter", f"--net=/run/netns/{self.space}", *words]

    def token_line(self) -> str:
        """Its line of the API server's token file."""
        return f"{self.token},system:node:{self.name},{self.name},system:nodes"


def run(*words: str | Path, given: bytes | None = None) -> str:
    """Run a command; what it printed. Raises AssertionError with what it complained of."""
    done = subprocess.run(words, input=given, capture_output=True, check=False, timeout=300)
    assert not done.returncode, f"{' '.join(map(str, words))}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode()


def quietly(*words: str | Path) -> None:
    """Run a command that may fail: what it takes away may be gone already."""
    subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)


@contextmanager
def network(nodes: list[Node]) -> Iterator[None]:
    """The bridge, the nodes' namespaces and the routes between all of them."""
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    before, spaces = forwarding.read_text(), _pod_spaces()
    remove_network(nodes)
    try:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
        run("ip", "address", "add", f"{HOST}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
        forwarding.write_text("1")
        for node in nodes:
            _attach(node, [each for each in nodes if each is not node])
            run("ip", "route", "replace", node.pods, "via", node.address)
        run("ip", "route", "replace", SERVICE_NETWORK, "via", nodes[0].address)
        yield
    finally:
        remove_network(nodes)
        forwarding.write_text(before)
        for space in _pod_spaces() - spaces:
            quietly("ip", "netns", "del", space)


def _pod_spaces() -> set[str]:
    """Names of the network namespaces that containerd makes for pods."""
    return {path.name for path in Path("/run/netns").glob("cni-*")}


def _attach(node: Node, others: list[Node]) -> None:
    link = f"mk-{node.name}"
    run("ip", "netns", "add", node.space)
    run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", node.space)
    run("ip", "link", "set", link, "master", BRIDGE, "up")
    for words in (
        ("ip", "link", "set", "lo", "up"),
        ("ip", "address", "add", f"{node.address}/24", "dev", "eth0"),
        ("ip", "link", "set", "eth0", "up"),
        ("ip", "route", "add", "default", "via", HOST),
        ("sysctl", "-q", "-w", "net.ipv4.ip_forward=1"),
        *(("ip", "route", "add", other.pods, "via", other.address) for other in others),
    ):
        run(*node.inside(*words))


def remove_network(nodes: list[Node]) -> None:
    """Also what a run that was killed left behind."""
    for node in nodes:
        quietly("ip", "netns", "del", node.space)
        quietly("ip", "link", "del", f"mk-{node.name}")
    quietly("ip", "route", "del", SERVICE_NETWORK)
    quietly("ip", "link", "del", BRIDGE)


@contextmanager
def started(node: Node, server: ApiServer, images: list[Path]) -> Iterator[None]:
    """The node's processes, with these images (OCI archives) on it."""
    with ExitStack() as stack:
        stack.callback(_clean, node)
        _make_cgroups(node)
        _write_files(node, server)
        stack.callback(_end_containers, node)
        stack.enter_context(_containerd(node))
        for image in images:
            run("ctr", "-a", node.socket, "-n", "k8s.io", "images", "import", image)
        for name, words in _programs(node, server).items():
            stack.enter_context(running(node.inside(TOOLS / name, *words), node.folder / f"{name}.log"))
        yield


def _programs(node: Node, server: ApiServer) -> dict[str, list[str | Path]]:
    kubeconfig = server.folder / f"{node.name}.kubeconfig"
    kubelet: list[str | Path] = ["--config", node.folder / "kubelet.yaml", "--root-dir", node.folder / "kubelet"]
    kubelet += ["--kubeconfig", kubeconfig, "--hostname-override", node.name, "--node-ip", node.address, "--v=1"]
    return {
        "kubelet": kubelet,
        "kube-proxy": ["--config", node.folder / "proxy.yaml", "--hostname-override", node.name],
    }


@contextmanager
def _containerd(node: Node) -> Iterator[None]:
    with running(
        node.inside("containerd", "--config", node.folder / "containerd.toml"), node.folder / "containerd.log"
    ):
        deadline = time.monotonic() + WAIT_SECONDS
        while subprocess.run(["ctr", "-a", node.socket, "version"], capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, (node.folder / "containerd.log").read_text()[-2000:]
            time.sleep(0.2)
        yield


def _write_files(node: Node, server: ApiServer) -> None:
    cni = node.folder / "cni"
    cni.mkdir(parents=True, exist_ok=True)
    server.write_kubeconfig(f"{node.name}.kubeconfig", node.token)
    proxy = server.write_kubeconfig(f"{node.name}-proxy.kubeconfig", "token-proxy")
    (cni / "10-mailkeep.conflist").write_text(json.dumps(_cni(node)))
    (node.folder / "containerd.toml").write_text(_containerd_config(node))
    (node.folder / "kubelet.yaml").write_text(json.dumps(_kubelet_config(node)))
    (node.folder / "proxy.yaml").write_text(json.dumps(_proxy_config(proxy)))


def _cni(node: Node) -> dict[str, Any]:
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": False,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(node.folder / "ipam"),
            "ranges": [[{"subnet": node.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "mailkeep", "plugins": [bridge, portmap]}


def _containerd_config(node: Node) -> str:
    return f"""
version = 2
root = "{node.folder}/containerd"
state = "{node.folder}/state"
oom_score = 0
[grpc]
  address = "{node.socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{node.folder}/cni"
"""


def _kubelet_config(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.space}",
        "failCgroupV1": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        "featureGates": {"KubeletInUserNamespace": True},
        "clusterDNS": [HOST],
        "clusterDomain": DOMAIN,
        "healthzPort": 0,
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "5s",
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        # A kubelet takes away the logs of pods that it does not know.
        "podLogsDir": str(node.folder / "logs"),
        "volumePluginDir": str(node.folder / "volume-plugins"),
    }


def _proxy_config(kubeconfig: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "mode": "iptables",
        # The host reaches Services through one node; answers must come back the same way.
        "iptables": {"masqueradeAll": True},
        "conntrack": {"maxPerCore": 0, "min": 0},
        "clusterCIDR": "10.244.0.0/16",
        "healthzBindAddress": "",
        "metricsBindAddress": "",
    }


def _make_cgroups(node: Node) -> None:
    """A root of its own in every hierarchy, so that two kubelets do not take away each other's pods."""
    for hierarchy in CGROUPS.iterdir():
        if hierarchy.is_symlink() or not (hierarchy / "cgroup.procs").exists():
            continue
        folder = hierarchy / node.space
        folder.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / name).exists():
                (folder / name).write_text((hierarchy / name).read_text())


def _end_containers(node: Node) -> None:
    """Whatever of the node still runs: the shims (they outlive containerd) and, by their cgroups, the containers."""
    for _ in range(50):
        pids = _pids_of(node)
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def _pids_of(node: Node) -> set[int]:
    found = {
        int(pid) for path in (CGROUPS / "pids" / node.space).rglob("cgroup.procs") for pid in path.read_text().split()
    }
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (each / "cmdline").read_bytes()
            if b"containerd-shim" in words.partition(b"\0")[0] and os.fsencode(f"{node.folder}/") in words:
                found.add(int(each.name))
    return found


def _clean(node: Node) -> None:
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((each for each in mounts if each.startswith(f"{node.folder}/")), reverse=True):
        quietly("umount", "-l", mount)
    for hierarchy in CGROUPS.iterdir():
        for folder in sorted((hierarchy / node.space).rglob("*/"), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()
        with contextlib.suppress(OSError):
            (hierarchy / node.space).rmdir()
    shutil.rmtree(node.folder, ignore_errors=True)
