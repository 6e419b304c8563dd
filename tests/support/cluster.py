"""A real cluster of two nodes on this machine, or the one of KUBECONFIG."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.support.apiserver import TOOLS, ApiServer, api_server, running
from tests.support.nodes import DOMAIN, HOST, PAUSE_IMAGE, Node, network, run, started
from tests.support.processes import eventually

CONTROLLERS: Final = "*"
NODES: Final = 2
IMAGE: Final = "localhost/mailkeep:tests"
"""The image of this tree, as the tests name it."""


@contextmanager
def cluster(images: list[Path]) -> Iterator[ApiServer]:
    """Started, with both nodes ready; `images` (OCI archives) are on each of them."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mk-", ignore_cleanup_errors=True)))
        nodes = [Node(number, folder / f"n{number}") for number in range(1, NODES + 1)]
        stack.enter_context(network(nodes))
        tokens = [*(node.token_line() for node in nodes), "token-proxy,system:kube-proxy,proxy", SCHEDULER, DNS]
        server = stack.enter_context(api_server(folder, HOST, tokens, CONTROLLERS))
        _start_control_plane(server, stack)
        pause = pause_image(folder)
        for node in nodes:
            node.folder.mkdir()
            stack.enter_context(started(node, server, [pause, *images]))
        eventually(lambda: len(server.get("nodes")["items"]) == NODES, 60)
        server.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=50s")
        yield server


SCHEDULER: Final = "token-scheduler,system:kube-scheduler,scheduler"
DNS: Final = "token-dns,dns,dns,system:masters"


def _start_control_plane(server: ApiServer, stack: ExitStack) -> None:
    folder = server.folder
    scheduler = server.write_kubeconfig("scheduler.kubeconfig", "token-scheduler")
    words: list[str | Path] = [TOOLS / "kube-scheduler", "--kubeconfig", scheduler, "--leader-elect=false"]
    stack.enter_context(running([*words, "--secure-port", "0"], folder / "scheduler.log"))
    names = server.write_kubeconfig("dns.kubeconfig", "token-dns")
    (folder / "Corefile").write_text(
        f".:53 {{\n bind {HOST}\n errors\n kubernetes {DOMAIN} {{\n  kubeconfig {names}\n  ttl 5\n }}\n}}\n"
    )
    stack.enter_context(running([TOOLS / "coredns", "-conf", folder / "Corefile"], folder / "dns.log"))


def pause_image(folder: Path) -> Path:
    """The image of every pod's first process, as an OCI archive."""
    archive = folder / "pause.tar"
    container = run("buildah", "from", "scratch").strip()
    run("buildah", "copy", container, TOOLS / "pause", "/pause")
    run("buildah", "config", "--entrypoint", '["/pause"]', container)
    run("buildah", "commit", "--rm", container, PAUSE_IMAGE)
    run("buildah", "push", PAUSE_IMAGE, f"oci-archive:{archive}:{PAUSE_IMAGE}")
    return archive
