"""The effective stack as it is printed: keys in Compose's order, and without what is empty and says nothing.

A row is a key path and its keys in order; `!`: printed even where it is empty, false or zero (`!=0`: and where it is
not written). A map without a row holds names of the user's own: nothing is left out of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from orchestrator.record import frozen
from orchestrator.stack.emit import natural
from orchestrator.stack.environment import CONTENT
from orchestrator.stack.tree import Fork, List, Map, plant

# ruff: noqa: SIM905 (words in a row read better than a column of quotes)
_HOOK = "command! user privileged working_dir environment"
_FILE = "source target uid gid mode!"
_CHANGE = "parallelism! delay failure_action monitor max_failure_ratio order"
_DEVICE = "capabilities driver count device_ids options"
_RATE = "path!='' rate!='0'"

TOP = "name services networks volumes secrets configs models".split()
_ROWS: dict[str, str] = {
    "services.*": "profiles annotations attach! build! develop! blkio_config! cap_add cap_drop cgroup_parent cgroup"
    " cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpus cpuset cpu_shares command! configs"
    " container_name credential_spec! depends_on deploy! device_cgroup_rules devices dns dns_opt dns_search domainname"
    " entrypoint! provider environment env_file expose extends external_links extra_hosts group_add gpus hostname"
    " healthcheck! image init! ipc isolation labels label_file links logging! mem_limit mem_reservation memswap_limit"
    " mem_swappiness mac_address models network_mode networks oom_kill_disable oom_score_adj pid pids_limit platform"
    " ports privileged pull_policy read_only restart runtime scale! secrets security_opt shm_size"
    " stdin_open stop_grace_period! stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode"
    " uts volumes volumes_from working_dir pre_start post_start pre_stop",
    "services.*.blkio_config": "weight weight_device device_read_bps device_read_iops device_write_bps"
    " device_write_iops",
    "services.*.blkio_config.weight_device[]": "path!='' weight!=0",
    **{
        f"services.*.blkio_config.device_{way}_{unit}[]": _RATE for way in ("read", "write") for unit in ("bps", "iops")
    },
    "services.*.build": "context dockerfile dockerfile_inline entitlements args provenance sbom ssh labels cache_from"
    " cache_to no_cache no_cache_filter additional_contexts pull extra_hosts isolation network target secrets shm_size"
    " tags ulimits platforms privileged",
    "services.*.build.secrets[]": _FILE,
    "services.*.build.ulimits.*": "soft! hard!",
    "services.*.configs[]": _FILE,
    "services.*.credential_spec": "config file registry",
    "services.*.depends_on.*": "condition restart required!",
    "services.*.deploy": "mode replicas! labels update_config! rollback_config! resources restart_policy! placement"
    " endpoint_mode",
    "services.*.deploy.update_config": _CHANGE,
    "services.*.deploy.rollback_config": _CHANGE,
    "services.*.deploy.resources": "limits! reservations!",
    "services.*.deploy.resources.limits": "cpus memory pids devices generic_resources",
    "services.*.deploy.resources.reservations": "cpus memory pids devices generic_resources",
    "services.*.deploy.resources.reservations.devices[]": _DEVICE,
    "services.*.deploy.resources.reservations.generic_resources[]": "discrete_resource_spec!",
    "services.*.deploy.resources.reservations.generic_resources[].discrete_resource_spec": "kind!='' value!=0",
    "services.*.deploy.restart_policy": "condition delay! max_attempts! window!",
    "services.*.deploy.placement": "constraints preferences max_replicas_per_node",
    "services.*.deploy.placement.preferences[]": "spread",
    "services.*.develop": "watch",
    "services.*.develop.watch[]": "path action target exec! include ignore initial_sync",
    "services.*.develop.watch[].exec": _HOOK,
    "services.*.devices[]": "source target permissions",
    "services.*.env_file[]": "path required! format",
    "services.*.extends": "file service",
    "services.*.gpus[]": _DEVICE,
    "services.*.healthcheck": "test timeout! interval! retries! start_period! start_interval! disable",
    "services.*.logging": "driver options",
    "services.*.models.*": "endpoint_var model_var",
    "services.*.networks.*": "aliases driver_opts gw_priority interface_name ipv4_address ipv6_address link_local_ips"
    " mac_address priority",
    "services.*.ports[]": "name mode host_ip target published protocol app_protocol",
    "services.*.provider": "type options",
    "services.*.secrets[]": _FILE,
    "services.*.ulimits.*": "soft! hard!",
    "services.*.volumes[]": "type source target read_only consistency bind! volume! tmpfs! image!",
    "services.*.volumes[].bind": "selinux propagation create_host_path recursive",
    "services.*.volumes[].image": "subpath",
    "services.*.volumes[].tmpfs": "size mode",
    "services.*.volumes[].volume": "labels nocopy subpath",
    "services.*.post_start[]": _HOOK,
    "services.*.pre_start[]": _HOOK + " image per_replica",
    "services.*.pre_stop[]": _HOOK,
    "networks.*": "name driver driver_opts ipam! external internal attachable labels enable_ipv4! enable_ipv6!",
    "networks.*.ipam": "driver config",
    "networks.*.ipam.config[]": "subnet gateway ip_range aux_addresses",
    "volumes.*": "name driver driver_opts external labels",
    "secrets.*": "name file environment external labels driver driver_opts template_driver",
    "configs.*": "name file environment content external labels driver driver_opts template_driver",
    "models.*": "name model context_size runtime_flags",
}
# key → (whether it is printed even where it says nothing, what is printed where it is not written)
Row = dict[str, tuple[bool, Any]]
Order: TypeAlias = Callable[[str], Any]
_USUAL = {"": None, "=''": "", "='0'": "0", "=0": 0}


def _row(keys: str) -> Row:
    parts = (key.partition("!") for key in keys.split())
    return {name: (bool(always), _USUAL[usual]) for name, always, usual in parts}


_SHAPE: Fork[Row] = plant({path: _row(keys) for path, keys in _ROWS.items()})


def shaped(tree: Map, *, json: bool = False) -> dict[str, Any]:
    """The tree as plain maps and lists in printing order; for JSON with the peculiarities that Compose's has there."""
    printer = _Printer(not json, str if json else natural)
    shown = {key: printer.value(tree[key], _SHAPE.step(key)) for key in TOP if key in tree}
    extensions = {key: by_name(tree[key], printer.order) for key in printer.sorted(tree) if key.startswith("x-")}
    shown = {key: value for key, value in shown.items() if value or key == "services"} | extensions
    for kind in ("networks", "volumes", "secrets", "configs"):
        if kind in shown:
            shown[kind] = {key: {} if thing is None else thing for key, thing in shown[kind].items()}
    for service in shown["services"].values():
        if "env_file" in service:  # what must be there is named by its path alone
            service["env_file"] = [item["path"] if item["required"] else item for item in service["env_file"]]
    return _as_json(shown) if json else shown


def by_name(value: Any, order: Order) -> Any:
    """As it is, but keys sorted: words of the user's own, and all words where nothing is resolved."""
    if isinstance(value, dict):
        return {key: by_name(value[key], order) for key in sorted(value, key=order) if key != CONTENT}
    return [by_name(item, order) for item in value] if isinstance(value, list) else value


@frozen
class _Printer:
    extensions: bool
    order: Order

    def sorted(self, value: Map) -> list[str]:
        return sorted(value, key=self.order)

    def value(self, value: Any, fork: Fork[Row] | None) -> Any:
        if isinstance(value, Map):
            if fork is not None and fork.rule is not None:
                return self.struct(value, fork.rule, fork)
            if fork is not None and "*" in fork.below:
                return {key: self.value(value[key], fork.step(key)) for key in self.sorted(value)}
            return by_name(value, self.order)
        if isinstance(value, List):
            below = fork.step(0) if fork is not None else None
            return [self.value(item, below) for item in value]
        return value

    def struct(self, value: Map, row: Row, fork: Fork[Row]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, (always, usual) in row.items():
            if (inner := value.get(key, usual)) is not None:
                shown = self.value(inner, fork.step(key))
                if always or shown not in (False, 0, "", {}, []):
                    result[key] = shown
        if self.extensions:
            further = (key for key in self.sorted(value) if _is_extension(key))
            result |= {key: by_name(value[key], self.order) for key in further}
        return result


def _is_extension(key: str) -> bool:
    return key.startswith("x-") and key != CONTENT


def _as_json(shown: dict[str, Any]) -> dict[str, Any]:
    """Compose's JSON: sorted at the top, commands may be null, some maps are there though they are empty, no models,
    empty lists of extensions are null."""
    for name, service in shown["services"].items():
        shown["services"][name] = _completed("services.*", service, {"command": None, "entrypoint": None})
        if "deploy" in service:
            empty: dict[str, Any] = {"resources": {}, "placement": {}}
            shown["services"][name]["deploy"] = _completed("services.*.deploy", service["deploy"], empty)
        if "watch" in service.get("develop", ()):
            watched = service["develop"]["watch"]
            hook: dict[str, Any] = {"exec": {"command": None}}
            service["develop"]["watch"] = [_completed("services.*.develop.watch[]", item, hook) for item in watched]
        for limits in (service.get("ulimits", {}), service.get("build", {}).get("ulimits", {})):
            for resource, limit in limits.items():
                limits[resource] = {key: n for key, n in limit.items() if n} if isinstance(limit, dict) else limit
        if "blkio_config" in service:
            shown["services"][name]["blkio_config"] = _capitals(service["blkio_config"])
    for key, network in shown.get("networks", {}).items():
        shown["networks"][key] = _completed("networks.*", network or {}, {"ipam": {}})
    shown.pop("models", None)
    return {key: without_empty_lists(value) if key.startswith("x-") else value for key, value in sorted(shown.items())}


def _completed(path: str, value: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    """`value` with what is always printed of it, in the order of its row."""
    both = usual | value
    return {key: both[key] for key in _row(_ROWS[path]) if key in both}


def _capitals(value: dict[str, Any]) -> dict[str, Any]:
    """The one map whose words Compose capitalizes."""
    return {
        key: [{word.capitalize(): inner for word, inner in item.items()} for item in items]
        if isinstance(items, list)
        else items
        for key, items in value.items()
    }


def without_empty_lists(value: Any) -> Any:
    """Compose's JSON says null for them, where they are no structures of its own."""
    if isinstance(value, dict):
        return {key: without_empty_lists(inner) for key, inner in value.items()}
    return ([without_empty_lists(item) for item in value] or None) if isinstance(value, list) else value
