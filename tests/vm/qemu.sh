#!/bin/bash
# Runs as root inside the guest under QEMU, in place of a login: puts the project's disk over the project's own path.
# Arguments: the disk's device, the project directory, where the host keeps Python's standard library, a script to run
# then, whose exit code is the guest's.
set -eu
device=$1 project=$2 library=$3 job=$4

# The first look at the hardware was before the modules' directory was there, if the project lies under /tmp or /var/tmp.
udevadm trigger --action=add
udevadm settle

# The kernel's modules stay where the host has them, below the directory that the disk is about to cover.
mkdir -p /run/cache /run/disk
mount --bind "$project/.cache" /run/cache
mount "$device" /run/disk
mount --bind /run/disk/project "$project"
mount --bind /run/cache "$project/.cache"
mkdir -p "$library"
mount --bind /run/disk/library "$library"

cd "$project"
exec bash "$job"
