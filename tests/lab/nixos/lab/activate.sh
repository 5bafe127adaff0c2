#!/bin/sh
# Make /etc that of this generation, then run its activation script; the status is that of the script. As on NixOS,
# /run/current-system is set even if a part of it failed.
toplevel=@toplevel@
status=0

# replace TARGET LINK: a link that is never absent
replace() {
    ln -s "$1" "$2.lab-new" && mv -Tf "$2.lab-new" "$2"
}

replace "$toplevel/etc" /etc/static
if [ ! -L /etc/systemd/system ]; then rm -rf /etc/systemd/system; fi
[ "$(readlink /etc/systemd/system)" = ../static/systemd/system ] || replace ../static/systemd/system /etc/systemd/system

cd "$toplevel/etc" || exit 1
find . -path ./systemd/system -prune -o -type f -print | sed 's|^\./||' | while read -r name; do
    [ "$(readlink "/etc/$name")" = "/etc/static/$name" ] && continue
    mkdir -p "/etc/$(dirname "$name")"
    replace "/etc/static/$name" "/etc/$name"
done
# What an older generation linked and this one does not have.
find /etc -xdev -type l -lname '/etc/static/*' ! -exec test -e {} \; -exec rm {} +

# The users of services, before any of them is started.
for users in "$toplevel"/etc/sysusers.d/*.conf; do
    [ ! -e "$users" ] || systemd-sysusers "$users" || status=1
done

# What is booted and what is current is never garbage, whatever the profiles say.
mkdir -p /nix/var/nix/gcroots
ln -sfn /run/booted-system /nix/var/nix/gcroots/booted-system
ln -sfn /run/current-system /nix/var/nix/gcroots/current-system

sh -eu "$toplevel/activation-script" || status=1
replace "$toplevel" /run/current-system
exit $status
