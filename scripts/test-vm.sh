#!/usr/bin/env bash
# What only a kernel with nothing but cgroup v2 shows: the exported limits in the files of the kernel, the end by want of memory, KillMode,
# and devstack's own limit of memory. In a virtual machine without KVM, so that it runs on any machine; scripts/vm/inside.sh is what runs there.
# Needs root, mmdebstrap and mke2fs (Debian: apt install mmdebstrap e2fsprogs) and the way to a Debian mirror; says SKIPPED without them.
# Images are kept in target/vm.
# Not part of scripts/test.sh yet: it is red. The worker that eats memory is not ended within 30 s there under the exported MemoryHigh, and is
# with MemoryHigh=infinity; see the last check of scripts/vm/inside.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PATH="$PATH:/usr/sbin:/sbin"
where="in a virtual machine"
programs=(mmdebstrap mke2fs)
. scripts/exported-units.sh

vm="$target/vm"
mkdir -p "$vm"
make_root() {
    [ ! -e "$vm/$1" ] || return 0
    rm -rf "$vm/$1.new"
    mmdebstrap --quiet --variant=minbase --include="$2" bookworm "$vm/$1.new"
    mv "$vm/$1.new" "$vm/$1"
}
# In a root of its own, as qemu's packages may conflict with what the machine has.
make_root qemu qemu-system-x86
mkdir -p "$vm/qemu/vm"
if [ ! -e "$vm/qemu/vm/disk.img" ]; then
    make_root guest systemd,systemd-sysv,dbus,python3,procps,linux-image-cloud-amd64
    cat >"$vm/guest/etc/systemd/system/inside.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS1
ExecStart=/bin/sh -c 'mount /dev/vdb /srv && exec /srv/inside.sh'
ExecStopPost=/usr/bin/systemctl poweroff --no-block
UNIT
    mkdir -p "$vm/guest/etc/systemd/system/graphical.target.wants"
    ln -sf ../inside.service "$vm/guest/etc/systemd/system/graphical.target.wants/inside.service"
    cp "$vm"/guest/boot/vmlinuz-* "$vm/qemu/vm/vmlinuz"
    cp "$vm"/guest/boot/initrd.img-* "$vm/qemu/vm/initrd"
    mke2fs -q -t ext4 -d "$vm/guest" "$vm/qemu/vm/disk.new" 1200M
    mv "$vm/qemu/vm/disk.new" "$vm/qemu/vm/disk.img"
    rm -rf "$vm/guest"
fi

machine=
clean_up() {
    status=$?
    # timeout passes it on.
    [ -z "$machine" ] || kill "$machine" 2>/dev/null || true
    rm -rf "$vm/srv" "$vm/qemu/vm/srv.img"
    exit "$status"
}
trap clean_up EXIT

rm -rf "$vm/srv" "$vm/qemu/vm/srv.img"
mkdir "$vm/srv"
cp -r scripts/vm/. "$vm/srv"
cp "$devstack" "$vm/srv/devstack"
strip "$vm/srv/devstack" 2>/dev/null || true
python3 -m zipfile -e "$wheel" "$vm/srv/shop/library"
mke2fs -q -t ext4 -d "$vm/srv" "$vm/qemu/vm/srv.img" 200M

drive() { echo "-drive file=/vm/$1,format=raw,if=virtio,snapshot=on"; }
: >"$vm/qemu/vm/said.log"
# It powers itself off; one that does not is ended.
# shellcheck disable=SC2046
timeout --kill-after=10 180 chroot "$vm/qemu" qemu-system-x86_64 -accel tcg,thread=multi -smp 2 -m 1024 -display none -nodefaults -nic none -no-reboot \
    -serial file:/vm/console.log -serial file:/vm/said.log $(drive disk.img) $(drive srv.img) -kernel /vm/vmlinuz -initrd /vm/initrd \
    -append "console=ttyS0 root=/dev/vda rw quiet systemd.show_status=0" </dev/null &
machine=$!
wait "$machine" || echo "the virtual machine did not end by itself" >&2
machine=
tr -d '\r' <"$vm/qemu/vm/said.log"
if ! grep -q "^virtual machine: everything as exported" "$vm/qemu/vm/said.log"; then
    tail -n 20 "$vm/qemu/vm/console.log" >&2
    exit 1
fi
