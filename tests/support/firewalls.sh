# sh firewalls.sh ARCHIVES MANAGER: start, reload and stop a real firewall manager of Debian in the network namespace
# that this runs in. It runs in mount and process-id namespaces of its own, where all that it writes stays and ends.
set -e
archives=$1
here=$(mktemp -d)
mount -t tmpfs tmpfs "$here"
mkdir "$here/root" "$here/upper" "$here/work"
for each in "$archives"/*.deb; do dpkg -x "$each" "$here/root"; done
# Since Debian 13 packages have nothing there.
[ ! -d "$here/root/lib" ] || cp -a "$here/root/lib/." "$here/root/usr/lib/"
for name in iptables ip6tables iptables-restore ip6tables-restore iptables-save ip6tables-save; do
    ln -s xtables-nft-multi "$here/root/usr/sbin/$name"
done
mount -t overlay overlay -o "lowerdir=$here/root/usr:/usr" /usr
mount -t overlay overlay -o "lowerdir=$here/root/etc:/etc,upperdir=$here/upper,workdir=$here/work" /etc
mount -t tmpfs tmpfs /run
mount -t proc proc /proc
umount -l "$here"
rmdir "$here"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin

handle() { nft -a list table inet firewalld 2>/dev/null | sed -n 's/^table inet firewalld.*handle //p'; }
wait_until() { for _ in $(seq 300); do "$@" && return; sleep 0.1; done; echo "not within 30 s: $*" >&2; exit 1; }

case $2 in
ufw)
    cp /usr/share/ufw/*.rules /usr/share/ufw/*.init /usr/share/ufw/ufw.conf /etc/ufw/
    ufw allow 51820/udp
    ufw --force enable
    ufw reload
    ufw --force disable
    ;;
firewalld)
    mkdir -p /run/dbus
    dbus-daemon --system --nopidfile --nosyslog
    firewalld --nofork --nopid &
    manager=$!
    loaded() { [ -n "$(handle)" ]; }
    wait_until loaded
    before=$(handle)
    reloaded() { now=$(handle); [ -n "$now" ] && [ "$now" != "$before" ]; }
    # Before its loop runs, the signal would end it.
    listens() { caught=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$manager/status"); [ $((0x$caught & 1)) = 1 ]; }
    wait_until listens
    kill -HUP "$manager"
    wait_until reloaded
    kill "$manager"
    wait "$manager"
    ;;
iptables)
    # What a container engine does on a restart: its chains go and come, and forwarded packets are dropped by default.
    for _ in 1 2; do
        for command in iptables ip6tables; do
            "$command-restore" --noflush <<RULES
*nat
:CONTAINERS - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CONTAINERS
-A POSTROUTING ! -o docker0 -m addrtype --src-type LOCAL -j RETURN
COMMIT
*filter
:FORWARD DROP [0:0]
:CONTAINERS - [0:0]
-A FORWARD -j CONTAINERS
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
RULES
            for table in nat filter; do
                "$command" -t "$table" -F
                "$command" -t "$table" -X
            done
            "$command" -P FORWARD ACCEPT
        done
    done
    ;;
esac
