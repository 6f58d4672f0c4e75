#!/bin/bash
# The first process of the guest under User Mode Linux. From the kernel's command line it has these variables:
# project, the directory of the project; results, the directory of results; job, a script, whose exit ends the guest.
. "$project/tests/vm/places.sh"
# By the system call that takes any text for options: of the newer ones, which mount prefers, kernels want "hostfs="
# before it.
LIBMOUNT_FORCE_MOUNT2=always mount -t hostfs -o "$results" results /run/results

# The kernel and `modprobe` find its modules where nothing of this machine's own is in the way.
ln -s /usr/lib/uml/modules /run/lib/modules
printf '#!/bin/sh\nexec /sbin/modprobe --dirname /run "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
export MODPROBE_OPTIONS="--dirname /run"
# Most others need it, and do not ask for it.
modprobe --all ipv6 tun
ip link set lo up

cd "$project" && bash "$job"
echo o >/proc/sysrq-trigger
sleep infinity
