#!/bin/sh
# The floor of a deployment: what a careful person types, as root, once they know that a commit was pushed. The commands are
# those of nixos-rebuild, in the order that leaves no unproven system as the boot default.
# $1 the host, $2 how many seconds to watch it, $3 a bare clone of the configuration, which is made if it is not there.
set -eu
url=git@forge:nix-config.git
nix() { command nix --extra-experimental-features 'nix-command flakes' "$@"; }
activate() {
    systemd-run -E NIXOS_INSTALL_BOOTLOADER=0 --collect --no-ask-password --pipe --quiet --service-type=exec \
        --unit=nixos-rebuild-switch-to-configuration "$toplevel/bin/switch-to-configuration" "$1"
}

[ -d "$3" ] || git init --quiet --bare "$3"
git -C "$3" fetch --quiet --no-tags "$url" +refs/heads/main:refs/heads/main
revision=$(git -C "$3" rev-parse refs/heads/main)
toplevel=$(nix build --no-link --print-out-paths --no-write-lock-file \
    "git+file://$3?rev=$revision#nixosConfigurations.\"$1\".config.system.build.toplevel")
activate test
sleep "$2"
systemctl is-active --quiet sshd.service
nix-env -p /nix/var/nix/profiles/system --set "$toplevel"
activate boot
