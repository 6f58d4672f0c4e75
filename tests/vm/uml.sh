#!/bin/bash
# The first process of the guest under User Mode Linux. From the kernel's command line it has these variables:
# project, the directory of the project; results, the directory of results; job, a script, whose exit ends the guest.
mount -t proc proc /proc
mount -t sysfs sys /sys
# /dev is the kernel's own; what it does not have itself:
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
mkdir /dev/shm
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mkdir -p /run/results /run/lib /run/project
mount --bind "$project" /run/project
mount -t tmpfs tmp /tmp
if [ ! -d "$project" ]; then # it lies below /tmp
    mkdir -p "$project"
    mount --bind /run/project "$project"
fi
mount -t hostfs -o "$results" results /run/results

# The kernel and `modprobe` find its modules where nothing of this machine's own is in the way.
ln -s /usr/lib/uml/modules /run/lib/modules
printf '#!/bin/sh\nexec /sbin/modprobe --dirname /run "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
export MODPROBE_OPTIONS="--dirname /run" HOME=/tmp
# Most others need it, and do not ask for it.
modprobe --all ipv6 tun
ip link set lo up

cd "$project" && bash "$job"
echo o >/proc/sysrq-trigger
sleep infinity
