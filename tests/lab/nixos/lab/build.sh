# Builder of a toplevel; the variables are the attributes of the derivation in default.nix.
set -eu
tab=$(printf '\t')
units=$out/etc/systemd/system
mkdir -p "$units" "$out/bin" "$out/sw/bin" "$out/kernel-modules/lib/modules/$kernelVersion"

while IFS=$tab read -r name text; do
    mkdir -p "$out/etc/$(dirname "$name")"
    cp "$text" "$out/etc/$name"
done <"$manifest"

# enable TARGET SUFFIX UNIT: what a [Install] section or `wantedBy` of a NixOS module becomes.
enable() {
    mkdir -p "$units/$1.$2"
    ln -sfn "../$3" "$units/$1.$2/$3"
}
installed() {
    sed -n '/^\[Install\]/,/^\[[^I]/s/^'"$1"'=//p' "$units/$2"
}
for path in "$units"/*; do
    unit=${path##*/}
    [ -f "$path" ] || continue
    case " $disabled " in *" $unit "*) continue ;; esac
    for target in $(installed WantedBy "$unit"); do enable "$target" wants "$unit"; done
    for target in $(installed RequiredBy "$unit"); do enable "$target" requires "$unit"; done
    for alias in $(installed Alias "$unit"); do ln -sfn "$unit" "$units/$alias"; done
done
while IFS=$tab read -r target unit; do enable "$target" wants "$unit"; done <"$enabled"

printf '%s' "$nixosVersion" >"$out/nixos-version"
printf '%s' "$initInterfaceVersion" >"$out/init-interface-version"
printf '%s' x86_64-linux >"$out/system"
printf '%s' "$configurationLimit" >"$out/configuration-limit"
cp "$switchInhibitors" "$out/switch-inhibitors"
ln -s "$kernel" "$out/kernel"
ln -s "$initrd" "$out/initrd"
ln -s "$systemd" "$out/systemd"

sed "s|@toplevel@|$out|g" "$init_script" >"$out/init"
sed "s|@toplevel@|$out|g" "$activate_script" >"$out/activate"
printf '%s\n' "$activationScript" >"$out/activation-script"
sed "s|@toplevel@|$out|g" "$switchToConfiguration" >"$out/bin/switch-to-configuration"
printf '#!/bin/sh\ncat %s/nixos-version; echo\n' "$out" >"$out/sw/bin/nixos-version"
chmod 755 "$out/init" "$out/activate" "$out/bin/switch-to-configuration" "$out/sw/bin/nixos-version"

eval "$buildScript"
