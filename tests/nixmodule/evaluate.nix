# Evaluates the NixOS modules with the real option types of a nixpkgs `lib`, and shows what they say as JSON.
#
# What is not here of NixOS is declared by name, with types as wide as they may be: a misspelt option of NixOS is
# found by `checks` of the flake, everything of ours is found here.
{
  lib ? import (builtins.getEnv "GITOPSD_NIXPKGS_LIB" + "/lib"),
  # the modules, and a configuration as Nix text
  modules ? [ ../../packaging/module.nix ],
  configuration ? "{ }",
}:
let
  inherit (lib) mkOption types;

  # A package is where its files are: in the lab, below /usr.
  package = prefix: {
    type = "derivation";
    outPath = prefix;
  };
  pkgs =
    lib.genAttrs [
      "age"
      "chezmoi"
      "curl"
      "git"
      "git-filter-repo"
      "gitleaks"
      "gnupg"
      "gnutar"
      "jujutsu"
      "openssh"
      "util-linux"
    ] (_: package "/usr")
    // {
      sops = package "/usr/local";
      gitopsd = package "/usr";
      stdenv = {
        buildPlatform.canExecute = _: true;
        hostPlatform = { };
      };
      runCommand =
        name: attributes: _script:
        (attributes.raw or (package "/usr/share/${name}")) // { inherit name; };
      formats.toml =
        { }:
        {
          # As in nixpkgs' pkgs/pkgs-lib/formats.nix.
          type =
            let
              value =
                types.oneOf [
                  types.bool
                  types.int
                  types.float
                  types.str
                  types.path
                  (types.attrsOf value)
                  (types.listOf value)
                ]
                // {
                  description = "TOML value";
                };
            in
            value;
          generate = name: value: { inherit name value; };
        };
    };

  anything = mkOption {
    type = types.attrsOf types.anything;
    default = { };
  };
  list = mkOption {
    type = types.listOf types.anything;
    default = [ ];
  };
  units = mkOption {
    type = types.attrsOf (
      types.submodule {
        freeformType = types.attrsOf types.anything;
        options = lib.genAttrs [ "wantedBy" "requiredBy" "requires" "after" "path" "reloadTriggers" ] (
          _: list
        );
      }
    );
    default = { };
  };
  nixos = {
    options = {
      assertions = list;
      warnings = list;
      environment.systemPackages = list;
      environment.etc = anything;
      networking.hostName = mkOption { type = types.str; };
      services.openssh.enable = mkOption { default = false; };
      nix.package = mkOption { default = package "/usr"; };
      system.autoUpgrade.enable = mkOption { default = false; };
      systemd = {
        package = mkOption { default = package "/usr"; };
        packages = list;
        services = units;
        sockets = units;
        targets = units;
        timers = units;
        tmpfiles.rules = list;
      };
      users = {
        users = anything;
        groups = anything;
      };
    };
  };

  evaluated = lib.evalModules {
    modules = modules ++ [
      nixos
      (import (builtins.toFile "configuration.nix" configuration))
    ];
    specialArgs = { inherit pkgs; };
  };
  inherit (evaluated) config options;

  documented = filter: map (
    option: {
      inherit (option) name type;
      description = option.description or "";
      default = option.default.text or null;
    }
  ) (builtins.filter filter (lib.optionAttrSetToDocList options));
in
{
  failed = map (each: each.message) (builtins.filter (each: !each.assertion) config.assertions);
  inherit (config) warnings;
  etc = config.environment.etc;
  inherit (config.systemd)
    services
    sockets
    targets
    timers
    ;
  tmpfiles = config.systemd.tmpfiles.rules;
  groups = builtins.attrNames config.users.groups;
  users = builtins.attrNames config.users.users;
  programs = config.environment.systemPackages;
  options = documented (
    option:
    option.visible
    && !option.internal
    && (lib.hasPrefix "services.gitopsd" option.name || lib.hasPrefix "myModules" option.name)
  );
}
