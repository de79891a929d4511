"""What becomes of a service in the words of the OCI runtime spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator.errors import Mistake
from orchestrator.root import Root
from orchestrator.runtime.spec import CAPABILITIES, container_spec, granted_capabilities
from orchestrator.scheduler.node import Request
from orchestrator.stack.model import Limits, Service

ROOT = Root("/srv/x")


@dataclass(frozen=True)
class AnImage:
    reference: str = "dir:/image"
    layers: tuple[str, ...] = ("/mask", "/")
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] | None = None
    command: Sequence[str] | None = None
    working_dir: str | None = None
    user: str | None = None
    mounts: tuple[Mapping[str, Any], ...] = ()


def spec(image: AnImage | None = None, mounts: tuple[dict[str, Any], ...] = (), **service: Any) -> dict[str, Any]:
    whole = Service(name="web", image="dir:/image", **{"command": ("serve",), **service})
    return container_spec(
        service=whole, image=image or AnImage(), container="0123456789ab", root=ROOT, hostname="web", mounts=mounts
    )


def test_the_names_derive_from_the_root() -> None:
    made = spec()
    assert made["linux"]["cgroupsPath"] == f"/{ROOT.cgroup}/0123456789ab"
    assert made["annotations"]["org.pyorch.layers"] == "/mask:/"
    assert made["annotations"]["org.pyorch.upper"] == "/srv/x/containers/0123456789ab/upper"


@pytest.mark.parametrize(
    ("image", "service", "expected"),
    [
        (AnImage(entrypoint=["e"], command=["c"]), {"command": None}, ["e", "c"]),
        (AnImage(entrypoint=["e"], command=["c"]), {"command": ("mine",)}, ["e", "mine"]),
        (AnImage(entrypoint=["e"], command=["c"]), {"command": None, "entrypoint": ("mine",)}, ["mine"]),
        (AnImage(entrypoint=["e"], command=["c"]), {"entrypoint": (), "command": ("mine",)}, ["mine"]),
    ],
)
def test_what_runs_follows_dockers_rule(image: AnImage, service: dict[str, Any], expected: list[str]) -> None:
    assert spec(image, **service)["process"]["args"] == expected


def test_nothing_to_run_is_the_users_mistake() -> None:
    with pytest.raises(Mistake, match="cannot run service 'web': neither the stack file nor image 'dir:/image'"):
        spec(command=None)


def test_the_environment_is_the_images_under_the_services_and_nothing_else() -> None:
    made = spec(AnImage(environment={"A": "image", "B": "image"}), environment={"B": "service"})
    assert made["process"]["env"] == [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME=web", "A=image", "B=service",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("added", "dropped", "expected"),
    [
        ((), (), set(CAPABILITIES)),
        (("SYS_TIME",), ("MKNOD",), set(CAPABILITIES) - {"MKNOD"} | {"SYS_TIME"}),
        (("NET_BIND_SERVICE",), ("ALL",), {"NET_BIND_SERVICE"}),
        ((), ("ALL",), set()),
    ],
)
def test_capabilities_are_the_default_and_what_the_file_says(
    added: tuple[str, ...], dropped: tuple[str, ...], expected: set[str]
) -> None:
    assert set(granted_capabilities(added, dropped)) == expected


def test_all_less_one_is_all_less_one() -> None:
    granted = granted_capabilities(("ALL",), ("SYS_ADMIN",))
    assert "SYS_ADMIN" not in granted and "SYS_BOOT" in granted


def test_limits_bind_and_reservations_weigh() -> None:
    made = spec(limits=Limits(cpus=0.5, memory=64 << 20), reservations=Request(cpus=0.25, memory=32 << 20))
    assert made["linux"]["resources"] == {
        "cpu": {"shares": 256, "quota": 50_000, "period": 100_000},
        "memory": {"limit": 64 << 20, "swap": 64 << 20, "reservation": 32 << 20},
        "pids": {"limit": 2048},
    }
    assert spec()["linux"]["resources"] == {"cpu": {"shares": 1024}, "memory": {}, "pids": {"limit": 2048}}


def test_a_mount_below_another_comes_after_it() -> None:
    deep, high = ({"destination": path, "type": "bind", "source": "/x"} for path in ("/data/deep", "/data"))
    assert [entry["destination"] for entry in spec(mounts=(deep, high))["mounts"][-2:]] == ["/data", "/data/deep"]


def test_raw_frames_are_for_who_asks_for_them() -> None:
    assert spec()["annotations"]["org.pyorch.seccomp"] == "default"
    assert spec(cap_add=("NET_ADMIN",))["annotations"]["org.pyorch.seccomp"] == "packet"
