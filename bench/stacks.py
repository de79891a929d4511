"""The stacks that are measured: the same text for every engine but for the image."""

from __future__ import annotations

# Obeys the stop signal at once, as the first process of its container and without an init.
WAITS = """[sh, -c, "trap 'exit 0' TERM; sleep 100000 & wait"]"""


def many(image: str, services: int, changed: int = 0, extra: str = "") -> str:
    """So many services that do nothing, with the usual limits. `changed` > 0: the first one's environment differs."""
    limits = "deploy: {resources: {limits: {memory: 64M, pids: 32}}}"
    rows = []
    for number in range(services):
        environment = f"environment: {{CHANGED: '{changed if not number else 0}'}}"
        rows.append(f"  s{number:03}: {{image: '{image}', command: {WAITS}, {environment}, {limits}{extra}}}")
    return "\n".join(["name: pyorch-bench", "services:", *rows, ""])


def checked(image: str, services: int) -> str:
    """Each with a command health check every second."""
    return many(image, services, extra=", healthcheck: {test: [CMD, 'true'], interval: 1s}")


def chain(image: str, links: int) -> str:
    """Each waits until the one before is healthy."""
    check = "healthcheck: {test: [CMD, 'true'], interval: 1s}"
    rows = [f"  s0: {{image: '{image}', command: {WAITS}, {check}}}"]
    for number in range(1, links):
        needs = f"depends_on: {{s{number - 1}: {{condition: service_healthy}}}}"
        rows.append(f"  s{number}: {{image: '{image}', command: {WAITS}, {check}, {needs}}}")
    return "\n".join(["name: pyorch-bench", "services:", *rows, ""])


def restarted(image: str) -> str:
    """One service that is always started again, at once. (podman-compose reads only `restart`.)"""
    policy = "restart: always, deploy: {restart_policy: {condition: any, delay: 0s}}"
    return f"name: pyorch-bench\nservices:\n  s0: {{image: '{image}', command: {WAITS}, {policy}}}\n"


def talks(image: str, size: int) -> str:
    """One service that writes `size` bytes of 100-byte lines and ends; nothing of it is trimmed."""
    said = f"""[sh, -c, "yes {"x" * 99} | head -c {size}; true"]"""
    return f"name: pyorch-bench\nservices:\n  s0: {{image: '{image}', command: {said}, restart: 'no'}}\n"
