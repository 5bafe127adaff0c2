#!/bin/sh
# Runs once, as root, inside the new image (chroot); what it writes is shared by every machine of every lab.
set -eu

# People. The forge's repositories belong to `git`, which may only run git over ssh.
useradd --create-home --uid 1000 --user-group --shell /bin/bash rain
useradd --create-home --uid 1001 --user-group --shell /bin/bash olga
useradd --create-home --uid 1002 --user-group --shell /usr/bin/git-shell --home-dir /srv/git git

# One host key for all machines and one client key for all people. Hosts know the forge's key, and no other, so that
# host keys are checked as they are on real hosts.
rm -f /etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -C lab-host -f /etc/ssh/ssh_host_ed25519_key
ssh-keygen -q -t ed25519 -N '' -C lab-client -f /root/client
echo "forge $(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)" >/etc/ssh/ssh_known_hosts
for person in root:/root rain:/home/rain olga:/home/olga; do
    name=${person%%:*} home=${person#*:}
    install -d -m 700 -o "$name" -g "$name" "$home/.ssh"
    install -m 600 -o "$name" -g "$name" /root/client "$home/.ssh/id_ed25519"
    install -m 644 -o "$name" -g "$name" /root/client.pub "$home/.ssh/id_ed25519.pub"
done
install -d -m 700 -o git -g git /srv/git/.ssh
install -m 600 -o git -g git /root/client.pub /srv/git/.ssh/authorized_keys
rm /root/client /root/client.pub
cat >/etc/ssh/ssh_config.d/lab.conf <<'X'
Host *
    StrictHostKeyChecking yes
    HashKnownHosts no
X

for person in rain olga; do
    install -d -o "$person" -g "$person" "/home/$person/.config" "/home/$person/.config/jj" "/home/$person/.config/chezmoi"
    cat >"/home/$person/.config/jj/config.toml" <<X
[user]
name = "$person"
email = "$person@example.org"
X
    cat >"/home/$person/.config/chezmoi/chezmoi.toml" <<X
[data]
desktop = "none"
X
    printf '[user]\n\tname = %s\n\temail = %s@example.org\n[init]\n\tdefaultBranch = main\n' "$person" "$person" \
        >"/home/$person/.gitconfig"
    chown "$person:$person" "/home/$person/.gitconfig" "/home/$person/.config/jj/config.toml" \
        "/home/$person/.config/chezmoi/chezmoi.toml"
done
printf '[user]\n\tname = root\n\temail = root@example.org\n[init]\n\tdefaultBranch = main\n' >/root/.gitconfig

# Background work of the distribution would disturb what tests count: units, wake-ups, boot time.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    systemd-networkd.service systemd-resolved.service systemd-timesyncd.service; do
    systemctl mask "$unit" >/dev/null 2>&1 || true
done
systemctl set-default multi-user.target >/dev/null 2>&1
systemctl enable ssh.service >/dev/null 2>&1
systemctl disable ssh.socket >/dev/null 2>&1 || true

# The journal is kept over reboots; each machine gets an ID of its own, and none counts as a "first boot".
mkdir -p /var/log/journal
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id
ln -s /etc/machine-id /var/lib/dbus/machine-id

# Where gitopsd is bound; the other two are for commands in a throw-away overlay.
mkdir -p /opt/gitopsd-src /var/cache/pycache /src

nix-store --init
mkdir -p /nix/var/nix/profiles/system-profiles /nix/var/nix/gcroots /boot/loader/entries
