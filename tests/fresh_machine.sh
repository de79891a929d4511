#!/bin/sh
# A minimal Debian with nothing but what the README asks for, and make targets of this checkout in it, one by one.
#
#   tests/fresh_machine.sh bookworm demo test
#   tests/fresh_machine.sh trixie demo
#
# Needs root and mmdebstrap. Mirror, certificates, names and pip's settings are this machine's own.
set -eu

suite=$1
shift
checkout=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 2>/dev/null | head -1)

echo "== a minimal $suite"
mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,make,git,ca-certificates \
    "$suite" "$work/root.tar" ${mirror:+"$mirror"}
mkdir "$work/root"
tar -C "$work/root" -xf "$work/root.tar"
mkdir "$work/root/srv/project"
(cd "$checkout" && git ls-files -z | tar --null -T - -c) | tar -C "$work/root/srv/project" -x --no-same-owner

cat >"$work/run" <<'RUN'
set -eu
cd "$1"
shift
mount --bind . "$PWD"
cd "$PWD"
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
for file in /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt /etc/pip.conf; do
    if [ -e "$file" ]; then
        [ -e ".$file" ] || touch ".$file"
        mount --bind "$file" ".$file"
    fi
done
# Whatever a target leaves running is taken down, so that nothing of it stays in this machine's network and cgroups.
take_down() {
    pyorch=/srv/project/.venv/bin/pyorch
    if chroot . $pyorch agent status >/dev/null 2>&1; then
        chroot . $pyorch -f /srv/project/examples/shop/stack.yaml down -v
        chroot . $pyorch agent stop --all
    fi
}
trap take_down EXIT
for target; do
    echo "== make $target"
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM="${TERM:-dumb}" \
        $(env | grep -E '^(PIP_[A-Z_]*|SSL_CERT_FILE|SHOP_PORT|https?_proxy)=' || true) \
        chroot . make -C /srv/project "$target"
done
RUN
unshare --mount --propagation private --pid --fork --kill-child sh "$work/run" "$work/root" "$@"
