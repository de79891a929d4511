"""A stock Debian kernel with cgroup v2 alone, for machines that have v1: booted in QEMU over their own files."""
