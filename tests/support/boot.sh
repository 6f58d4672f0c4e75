# Boot systemd on a view of a machine's files: `sh boot.sh OVER ROOT ARCHIVES SHOWN...`, as the first process of namespaces
# of its own (mount, pid, uts, ipc, cgroup), whose init it becomes.
#
# OVER is an empty directory, under which everything lies that is changed, in memory. ROOT is the root directory of the
# machine: / for this one. ARCHIVES is a directory of Debian packages, which are there inside, empty for none. SHOWN are
# directories that are seen inside as they are, and may be written to.
# What this machine has its own systemd do is left out: inside it starts what every machine has, and no more.
set -eu
over=$1 root=$2 archives=$3
shift 3

# As this machine numbers it, whose /proc this still is.
read -r pid _ < /proc/self/stat
echo "$pid" > "$over/pid"

mount --make-rprivate /
mkdir "$over/memory"
mount -t tmpfs memory "$over/memory"
mkdir "$over/memory/upper" "$over/memory/work" "$over/memory/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$over/memory/upper,workdir=$over/memory/work" "$over/memory/root"
cd "$over/memory/root"

# As it is now: an overlay shows what becomes of it, and packages for other tests are being installed, whose temporary
# files may go while they are copied.
mkdir "$over/memory/etc"
cp -a "$root/etc/." "$over/memory/etc" 2>/dev/null || [ -s "$over/memory/etc/passwd" ]
mount --bind "$over/memory/etc" etc
rm -rf etc/systemd etc/fstab etc/chrony etc/resolv.conf etc/machine-id
for archive in ${archives:+"$archives"/*.deb}; do
    dpkg-deb --fsys-tarfile "$archive" | tar --extract --keep-directory-symlink
done
mkdir -p etc/systemd/system
cat > etc/systemd/system/default.target <<'UNIT'
[Unit]
Requires=basic.target
After=basic.target
UNIT
# Without one systemd takes this for its first start ever, and enables whatever is installed.
echo 6e6f64657370616e6e6f64657370616e > etc/machine-id

mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 dev dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 pts dev/pts
ln -s pts/ptmx dev/ptmx
for device in null zero full random urandom tty; do
    touch "dev/$device"
    mount --bind "/dev/$device" "dev/$device"
done
if [ -e /dev/net/tun ]; then
    mkdir dev/net
    touch dev/net/tun
    mount --bind /dev/net/tun dev/net/tun
fi
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
for directory in "$@"; do
    mkdir -p ".$directory"
    mount --rbind "$directory" ".$directory"
done

mkdir old
pivot_root . old
umount --lazy old
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=nodespan-test /lib/systemd/systemd
