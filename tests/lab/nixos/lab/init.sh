#!/bin/sh
# Stage 2, as far as the lab needs it: the boot loader has chosen this generation.
# The boot menu: whoever writes a toplevel here has picked it by hand, for one boot.
if [ -e /boot/loader/once ]; then
    picked=$(cat /boot/loader/once)
    rm /boot/loader/once
    echo "lab: picked by hand: $picked"
    exec "$picked/init" "$@"
fi
mkdir -p /run/nixos
echo "<<< NixOS stage 2: @toplevel@ >>>"
# A failed activation does not stop a boot, as on NixOS.
@toplevel@/activate || echo "lab: activation failed"
ln -sfn @toplevel@ /run/booted-system
exec /usr/lib/systemd/systemd "$@"
