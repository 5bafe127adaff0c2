# The lab's stand-in for nixpkgs: mkSystem gives what lib.nixosSystem gives, as far as gitopsd looks.
rec {
  # { "foo.service" = "text"; "foo.service.d/bar.conf" = "text"; … } from the files of a directory.
  unitsFrom =
    directory:
    let
      entries = builtins.readDir directory;
      inside =
        name:
        if entries.${name} == "directory" then
          mapNames (inner: "${name}/${inner}") (unitsFrom (directory + "/${name}"))
        else
          { ${name} = builtins.readFile (directory + "/${name}"); };
    in
    builtins.foldl' (all: name: all // inside name) { } (builtins.attrNames entries);

  mkSystem =
    {
      hostName,
      # Unit files: name → text. What [Install] says is followed, as `systemctl enable` would.
      units ? { },
      # Units whose [Install] is not followed.
      disabled ? [ ],
      # More of it: target → units.
      wants ? { },
      # Files below /etc: name → text.
      etc ? { },
      # Changing one of these is what a new kernel, initrd or systemd is: gitopsd has to see it.
      kernel ? "6.18.1",
      initrd ? "1",
      systemd ? "262",
      initInterfaceVersion ? "systemd 2",
      switchInhibitors ? { },
      # Shell text that is run at activation, at boot and at a switch.
      activationScript ? "",
      # Shell text that is run at the end of the build; `exit 1` is a build that fails.
      buildScript ? "",
      # boot.loader.*.configurationLimit: how many generations of each profile have a boot entry; 0 is all.
      configurationLimit ? "0",
      nixosVersion ? "26.05.lab",
    }:
    let
      # Texts become store paths by their content alone, so that a commit that changes nothing for a host gives the
      # same toplevel. (A path of the flake would carry the whole source tree with it.)
      file = builtins.toFile "file";
      marker = name: version: builtins.toFile "${name}-${version}" "${name} ${version}\n";
      inEtc = builtins.mapAttrs (_: file) (
        etc // { hostname = "${hostName}\n"; } // mapNames (name: "systemd/system/${name}") units
      );
      lines = builtins.concatStringsSep "";
      manifest = file (
        lines (map (name: "${name}\t${inEtc.${name}}\n") (builtins.attrNames inEtc))
      );
      enabled = file (
        lines (
          builtins.concatMap (target: map (unit: "${target}\t${unit}\n") wants.${target}) (
            builtins.attrNames wants
          )
        )
      );
    in
    {
      config.system.build.toplevel = derivation {
        name = "nixos-system-${hostName}-${nixosVersion}";
        system = "x86_64-linux";
        builder = "/bin/sh";
        args = [ (file (builtins.readFile ./build.sh)) ];
        PATH = "/usr/bin:/bin";
        init_script = file (builtins.readFile ./init.sh);
        activate_script = file (builtins.readFile ./activate.sh);
        switchToConfiguration = file (builtins.readFile ./switch-to-configuration.py);
        kernel = marker "linux" kernel;
        initrd = marker "initrd" initrd;
        systemd = marker "systemd" systemd;
        switchInhibitors = file (builtins.toJSON switchInhibitors);
        inherit
          manifest
          enabled
          activationScript
          buildScript
          configurationLimit
          initInterfaceVersion
          nixosVersion
          ;
        disabled = builtins.concatStringsSep " " disabled;
        kernelVersion = kernel;
      };
    };

  mapNames =
    rename: set:
    builtins.listToAttrs (
      map (name: {
        name = rename name;
        value = set.${name};
      }) (builtins.attrNames set)
    );
}
