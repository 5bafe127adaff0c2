# PID 1 of the lab: when it ends, the kernel kills every process of every machine.
# Its process ID as the computer sees it, read before /proc becomes the one of this PID namespace.
read -r pid rest </proc/self/stat
mount -t proc proc /proc
# What a killed machine leaves behind becomes a child of ours; ignoring it means that the kernel reaps it.
trap '' CHLD
echo "$pid"
# Until the owner closes the pipe, or is killed, which closes it too.
exec cat >/dev/null
