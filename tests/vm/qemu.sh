#!/bin/bash
# The first process of the guest under QEMU, once it sees this machine's files. From the kernel's command line it has
# these variables: project, the directory of the project; library, that of Python's standard library; modules, that of the
# kernel's modules; job, a script, whose exit ends the guest.
. "$project/tests/vm/places.sh"
mount -t 9p -o version=9p2000.L,trans=virtio,msize=524288 results /run/results
mkdir -p /lib/modules
mount --bind "$modules" /lib/modules
ip link set lo up

# Drivers and names of the cards alone: what else the machine has, no test needs.
/lib/systemd/systemd-udevd --daemon
udevadm trigger --action=add --subsystem-match=virtio
udevadm trigger --action=add --subsystem-match=pci --attr-match='class=0x02*'
udevadm trigger --action=add --subsystem-match=pci --attr-match='class=0x0c03*'
udevadm settle

# The job lies in the directory that the disk is about to cover.
exec 9<"$job"
mkdir /run/disk
mount -o ro /dev/vda /run/disk
mount --bind /run/disk/project "$project"
mount --bind /run/disk/library "$library"
cd "$project" && bash /dev/fd/9
busybox poweroff -f
