#!/bin/sh
# throwaway.sh IMAGE SOURCE PYCACHE COMMAND…, started in mount, network and PID namespaces of its own, as PID 1.
# Runs COMMAND as root in an overlay of the image that ends with it. Nothing is booted.
set -eu
image=$1 source=$2 pycache=$3
shift 3
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec 3<"$image" 4<"$source" 5<"$pycache"
mount -t tmpfs -o mode=755,size=75%,nr_inodes=0 gitopsd-lab /run
mkdir -p /run/upper /run/work /run/root /run/image
mount --no-canonicalize --bind /proc/self/fd/3 /run/image
mount -t overlay overlay -o lowerdir=/run/image,upperdir=/run/upper,workdir=/run/work /run/root
root=/run/root
mount --no-canonicalize --bind /proc/self/fd/4 $root/src
mount -o remount,bind,ro $root/src
mount --no-canonicalize --bind /proc/self/fd/5 $root/var/cache/pycache
exec 3<&- 4<&- 5<&-
# A nixpkgs `lib` of the caller's, for the tests of the NixOS module.
lib=
if [ -n "${GITOPSD_NIXPKGS_LIB:-}" ]; then
    lib=/mnt
    mount --bind "$GITOPSD_NIXPKGS_LIB" $root/mnt
    mount -o remount,bind,ro $root/mnt
fi
mount -t proc proc $root/proc
mount -t sysfs -o ro sysfs $root/sys
mount -t tmpfs -o mode=1777 tmpfs $root/tmp
mount -t tmpfs -o mode=755 tmpfs $root/run
mount -t tmpfs -o mode=755 tmpfs $root/dev
mkdir $root/dev/pts $root/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts $root/dev/pts
mount -t tmpfs -o mode=1777 tmpfs $root/dev/shm
ln -s pts/ptmx $root/dev/ptmx
ln -s /proc/self/fd $root/dev/fd
for stream in stdin:0 stdout:1 stderr:2; do ln -s /proc/self/fd/${stream#*:} $root/dev/${stream%:*}; done
for device in null zero full random urandom tty; do
    : >$root/dev/$device
    mount --bind /dev/$device $root/dev/$device
done
ip link set lo up

# Not exec: PID 1 ignores the Ctrl-C that ends an ordinary process.
status=0
env -i HOME=/root USER=root LOGNAME=root SHELL=/bin/bash LANG=C.UTF-8 TERM="${TERM:-dumb}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PYTHONPYCACHEPREFIX=/var/cache/pycache HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis \
    ${lib:+GITOPSD_NIXPKGS_LIB=$lib} \
    chroot $root /usr/bin/env -C /src "$@" || status=$?
exit $status
