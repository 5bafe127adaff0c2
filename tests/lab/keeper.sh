#!/bin/sh
# keeper.sh ID IMAGE SOURCE
# One lab's outer process, started in mount and network namespaces of its own. It prepares what the machines share,
# starts the anchor, and when the anchor has ended removes the lab's cgroups: the one thing that does not vanish with
# the namespaces. The anchor lives until the other end of standard input is closed; the keeper as long as the anchor.
set -eu
id=$1 image=$2 source=$3
here=$(dirname "$(readlink -f "$0")")
anchor=$(cat "$here/anchor.sh")
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8

# All that machines write goes to a tmpfs on /run, which also hides the computer's own /run: systemd-nspawn and
# `ip netns` leave files there. What lies below the hidden /run is reached through an open directory.
exec 3<"$image" 4<"$source"
mount -t tmpfs -o mode=755,size=75%,nr_inodes=0 gitopsd-lab /run
mkdir -p /run/lab/image /run/lab/source /run/lab/installed /run/lab/machines
mount --no-canonicalize --bind /proc/self/fd/3 /run/lab/image
mount -o remount,bind,ro /run/lab/image
mount --no-canonicalize --bind /proc/self/fd/4 /run/lab/source
mount -o remount,bind,ro /run/lab/source
exec 3<&- 4<&-

# The computer may use cgroup v1, v2 or both; machines need v2 at the usual place.
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount -R /sys/fs/cgroup 2>/dev/null || true
    mount -t cgroup2 none /sys/fs/cgroup
fi
cgroups=/sys/fs/cgroup
own=$cgroups/gitopsd-lab-$id
remove() {
    find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
}
# Leftovers of labs whose keeper was killed too. A living lab has its keeper in its cgroup, so it is never empty.
for other in "$cgroups"/gitopsd-lab-*; do
    if grep -q '^populated 0' "$other/cgroup.events" 2>/dev/null; then remove "$other" || true; fi
done
# Another lab may sweep between the two steps.
until mkdir -p "$own/keeper" && echo 0 2>/dev/null >"$own/keeper/cgroup.procs"; do :; done
for controller in cpu memory pids; do
    echo "+$controller" 2>/dev/null >"$own/cgroup.subtree_control" || true
done

# Machines hang off one bridge; 10.77.0.1 is the lab itself, seen by machines as their neighbour.
ip link set lo up
ip link add lab type bridge
ip addr add 10.77.0.1/24 dev lab
ip link set lab up

status=0
setpriv --pdeathsig KILL \
    unshare --mount --pid --fork --kill-child --propagation private sh -c "$anchor" || status=$?

echo 0 >"$cgroups/cgroup.procs"
tries=0
until remove "$own" || [ ! -e "$own" ] || [ $tries = 100 ]; do
    tries=$((tries + 1))
    sleep 0.05
done
exit $status
