#!/bin/sh
# A Debian root as a machine of its own: its namespaces, its network, its control groups; then the command as its init.
#
#   unshare --mount --net --pid --uts --ipc --fork --kill-child=KILL bench/room.sh NAME ROOT DIRECTORY COMMAND ...
#
# ROOT is only read; DIRECTORY is /srv in the room, its lib is /var/lib and its etc a copy of ROOT's. All else that the
# command makes is gone with it, but for the control groups named NAME, which the caller removes.
set -eu
name=$1 root=$2 directory=$3
shift 3

# Into a group of our own in every hierarchy, so that a cgroup namespace shows only what lies below it.
hierarchies=$(awk '$3 ~ /^cgroup2?$/ {print $2 "=" $3 "=" $4}' /proc/self/mounts)
for each in $hierarchies; do
    at=${each%%=*}/$name
    mkdir "$at"
    if [ -e "$at/cpuset.mems" ] && [ ! -e "$at/cgroup.controllers" ]; then
        cat "$at/../cpuset.cpus" >"$at/cpuset.cpus"
        cat "$at/../cpuset.mems" >"$at/cpuset.mems"
    fi
    # v1: a group competes as one task with every task of the root group (our own launcher's parent group has as much).
    [ ! -e "$at/cpu.shares" ] || echo 20480 >"$at/cpu.shares"
    echo $$ >"$at/cgroup.procs"
done
mkdir -p "$directory/lib"
cp -a "$root/etc" "$directory/etc"
export name root directory hierarchies
exec unshare --cgroup --propagation private --mount sh -eu -c '
    cd "$root"
    mount --bind . "$PWD"
    mount -o remount,bind,ro "$PWD"
    cd "$PWD"
    mount --bind "$directory" srv
    mount --bind "$directory/lib" var/lib
    mount --bind "$directory/etc" etc
    mount -t proc proc proc
    mount -t sysfs sysfs sys
    mount --rbind /dev dev
    for each in run tmp root var/tmp var/cache; do mount -t tmpfs tmpfs "$each"; done
    case $hierarchies in
        *=cgroup=*)
            mount -t tmpfs cgroups sys/fs/cgroup
            # The v2 hierarchy beside v1 stays away: crun takes what is in it for all there is.
            for each in $hierarchies; do
                at=${each%%=*} rest=${each#*=}
                [ "${rest%%=*}" = cgroup ] || continue
                mkdir "sys/fs/cgroup/${at##*/}"
                options=$(echo "${rest#*=}" | tr , "\n" | grep -vxE "rw|ro|relatime|nosuid|nodev|noexec" | paste -sd,)
                mount -t cgroup -o "$options" cgroup "sys/fs/cgroup/${at##*/}"
            done
            ;;
        *)
            mount -t cgroup2 cgroup2 sys/fs/cgroup
            # Controllers are handed on only by a group that holds no process itself (man 7 cgroups).
            mkdir sys/fs/cgroup/init
            echo $$ >sys/fs/cgroup/init/cgroup.procs
            sed "s/^/+/; s/ / +/g" sys/fs/cgroup/cgroup.controllers >sys/fs/cgroup/cgroup.subtree_control
            ;;
    esac
    pivot_root . mnt
    umount -l /mnt
    ip link set lo up
    exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
' room "$@"
