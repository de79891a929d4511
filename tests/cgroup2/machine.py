"""Boot it, run one command in it, hear what it says. By hand: `python -m tests.cgroup2.machine COMMAND…` as root.

    host                                      machine (qemu, emulated where the processor has no virtualisation)
    / ─────────── 9p, read-only ────────────► /            the checkout, its virtual environment, every program
    kernel, modules ─── initrd ─────────────► init         tmpfs on /dev/shm, cgroup2 on /sys/fs/cgroup, loopback
    output, "ended with N" ◄─ serial line ─── command      TMPDIR=/dev/shm, where everything it writes goes

Nothing it does reaches the host. It is several times slower than the host: for behaviour, never for figures.
"""

from __future__ import annotations

import lzma
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CACHE = Path("/var/cache/pyorch-test-vm")
HERE = Path(__file__).parent
QEMU = "qemu-system-x86_64"
# What a distribution's kernel would load when it is asked for; nobody is asked here.
MODULES = (
    "crc32c_generic", "virtio_pci", "9pnet_virtio", "9p", "overlay", "veth", "bridge", "nf_tables", "nft_chain_nat",
    "nft_ct", "nft_nat", "nft_masq", "nft_numgen", "nft_reject_ipv4", "nft_fib_ipv4", "nf_conntrack_netlink",
)  # fmt: skip


class Unavailable(Exception):
    """Why there can be no such machine here."""


@dataclass(frozen=True)
class Ended:
    code: int | None  # None: it did not come to an end in time
    output: str


def run(arguments: Sequence[str], *, directory: Path, seconds: float, memory: str = "2G") -> Ended:
    """The command in a machine of its own, in `directory` of the host. Raises Unavailable."""
    kernel = prepare()
    command = f"cd {shlex.quote(str(directory))} && exec env -i {shlex.join(_environment())} {shlex.join(arguments)}"
    with tempfile.TemporaryDirectory(prefix="cgroup2-") as work:
        initrd = Path(work) / "initrd"  # archives one after the other make one: what is kept, and the command
        initrd.write_bytes((kernel / "initrd").read_bytes() + archive({"command": command.encode()}))
        whole = [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
            *_processor(), "-smp", str(min(4, os.cpu_count() or 1)), "-m", memory,
            "-kernel", str(kernel / "vmlinuz"), "-initrd", str(initrd),
            "-append", "console=ttyS0 quiet loglevel=1 panic=-1 cgroup_no_v1=all",
            "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap",
        ]  # fmt: skip
        with open(Path(work) / "console", "w+b") as console:
            try:
                subprocess.run(
                    whole, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.STDOUT, timeout=seconds
                )
            except subprocess.TimeoutExpired:
                pass  # what it said until then is the answer
            console.seek(0)
            output = console.read().decode(errors="replace").replace("\r\n", "\n")
    body, ended, code = output.rpartition("ended with ")
    return Ended(int(code.split()[0]), body) if ended else Ended(None, output)


def prepare() -> Path:
    """The directory with kernel and initial RAM disk: fetched from the machine's own package mirror, kept in CACHE."""
    if platform.machine() != "x86_64":
        raise Unavailable(f"the machine is made for x86_64, not for {platform.machine()}")
    for program, package in ((QEMU, "qemu-system-x86"), ("busybox", "busybox-static"), ("apt-get", "apt")):
        if not shutil.which(program):
            raise Unavailable(f"needs {package}: `make test` installs it where there is apt")
    if not (CACHE / "initrd").exists():
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{CACHE.name}.", dir=CACHE.parent) as work:
            _make(Path(work))
            shutil.rmtree(CACHE, ignore_errors=True)
            (Path(work) / "made").rename(CACHE)
    return CACHE


def _make(work: Path) -> None:
    tree = work / "tree"
    subprocess.run(["dpkg-deb", "--extract", str(_fetch(work)), str(tree)], check=True)
    found = {re.sub(r"\.ko(\.xz)?$", "", path.name).replace("-", "_"): path for path in tree.rglob("*.ko*")}
    made = work / "made"
    made.mkdir()
    files = {"init": (HERE / "init").read_bytes(), "bin/busybox": Path(shutil.which("busybox") or "").read_bytes()}
    loaded = dict.fromkeys(name for wanted in MODULES for name in _needed(wanted, found))
    for number, name in enumerate(loaded):
        files[f"modules/{number:03}-{name}.ko"] = _plain(found[name])
    (made / "initrd").write_bytes(archive(files))
    shutil.copy(next(tree.glob("boot/vmlinuz-*")), made / "vmlinuz")


def _fetch(work: Path) -> Path:
    """Debian's kernel package, not installed. Lists of packages may be old or missing: then once more with new ones."""
    for attempt in ("with the lists as they are", "with new lists"):
        if attempt == "with new lists":
            subprocess.run(["apt-get", "-qq", "update"], capture_output=True)
        listed = subprocess.run(["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True).stdout
        if package := re.search(r"Depends: (linux-image-\S+)", listed):
            download = ["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package[1]]
            if subprocess.run(download, cwd=work, capture_output=True).returncode == 0:
                return next(work.glob("*.deb"))
    raise Unavailable("cannot fetch Debian's linux-image-amd64 from the package mirror of this machine")


def _needed(name: str, found: dict[str, Path]) -> Iterator[str]:
    """What must be loaded for a module, in order, itself last; one that is not there is built into the kernel."""
    if name in found:
        depends = re.search(rb"\0depends=([^\0]*)\0", _plain(found[name]))
        for other in depends[1].decode().split(",") if depends else ():
            yield from _needed(other.replace("-", "_"), found)
        yield name


def _plain(module: Path) -> bytes:
    content = module.read_bytes()
    return lzma.decompress(content) if module.suffix == ".xz" else content


def archive(files: dict[str, bytes]) -> bytes:
    """A cpio archive ("newc", Documentation/driver-api/early-userspace/buffer-format.rst) of executable files."""
    whole = b""
    entries: list[tuple[str, int, bytes]] = [
        (str(d), 0o40755, b"") for d in sorted({Path(n).parent for n in files})[1:]
    ]
    entries += [(name, 0o100755, content) for name, content in files.items()]
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        whole += _padded(b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0")
        whole += _padded(content)
    return whole


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)


def _environment() -> list[str]:
    """Nothing of the caller's but the way to programs; and who waits there waits for longer."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin"
    return [
        f"PATH={path}",
        "HOME=/root",
        "TMPDIR=/dev/shm",
        "LANG=C.UTF-8",
        "PYTHONDONTWRITEBYTECODE=1",
        "PYORCH_PATIENCE=8",
    ]


def _processor() -> list[str]:
    """The real one where it can, which is several times faster."""
    can = re.search(r"^flags\s*:.*\b(vmx|svm)\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    if can and os.access("/dev/kvm", os.R_OK | os.W_OK):
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi", "-cpu", "max"]


if __name__ == "__main__":
    done = run(sys.argv[1:], directory=Path.cwd(), seconds=900)
    print(done.output, end="")
    sys.exit(124 if done.code is None else done.code)
