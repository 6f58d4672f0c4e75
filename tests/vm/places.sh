# Read by the first process of each guest, whose / is this machine's. $project is the directory of the project.
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
export HOME=/tmp
