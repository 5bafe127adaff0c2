# services.gitopsd: the daemon, its units and its configuration.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib)
    concatMap
    filterAttrs
    imap0
    literalExpression
    mapAttrs
    mkDefault
    mkEnableOption
    mkIf
    mkMerge
    mkOption
    optional
    optionals
    types
    ;
  cfg = config.services.gitopsd;
  inherit (cfg) settings;
  format = pkgs.formats.toml { };

  # TOML has no null: what is null is not said.
  withoutNull =
    value:
    if builtins.isAttrs value then
      mapAttrs (_: withoutNull) (filterAttrs (_: inner: inner != null) value)
    else if builtins.isList value then
      map withoutNull value
    else
      value;

  raw = format.generate "gitopsd.toml" (withoutNull settings);

  # Every fault is found when the system is built, not when the daemon has to start with it.
  checked =
    pkgs.runCommand "gitopsd-checked.toml"
      {
        nativeBuildInputs = [ cfg.package ];
        inherit raw;
      }
      ''
        gitopsctl config check $raw
        cp $raw $out
      '';

  # journalctl compiles the catalogs of one directory, and on NixOS that is systemd's own.
  catalogs = pkgs.runCommand "journal-catalogs" { } ''
    mkdir $out
    ln -s ${config.systemd.package}/lib/systemd/catalog/* ${cfg.package}/lib/systemd/catalog/* $out
  '';

  # What [Install] says in each unit file; NixOS does not read those sections.
  installed = import ./install.nix { inherit lib; } ../units;

  onCalendar =
    time:
    if time == null then
      { enable = false; }
    else
      {
        # The empty one forgets what the unit's file says.
        timerConfig.OnCalendar = [
          ""
          time
        ];
      };

  # Who evaluates the configuration; somebody else's name is for its owner to declare.
  buildUser = "gitopsd-build";
  buildsAsUser = settings.config != null && settings.config.build_user == buildUser;

  people = imap0 (index: person: { inherit index person; }) settings.dotfiles;
in
{
  options.services.gitopsd = {
    enable = mkEnableOption "gitopsd, which keeps dotfiles and this system in step with git";

    package = mkOption {
      type = types.package;
      default = pkgs.gitopsd or (pkgs.callPackage ./package.nix { });
      defaultText = literalExpression "pkgs.gitopsd";
      description = "The package with the daemon, `gitopsctl` and the units.";
    };

    settings = mkOption {
      type = types.submodule {
        freeformType = format.type;
        options = import ./options.nix {
          inherit lib;
          toml = format.type;
        };
      };
      default = { };
      example = literalExpression ''
        {
          dotfiles = [
            {
              user = "rain";
              repo_url = "git@example.org:rain/dotfiles.git";
            }
          ];
          config.repo_url = "git@example.org:rain/nix-config.git";
          verify.validate_units = [ "sshd.service" ];
        }
      '';
      description = ''
        What `/etc/gitopsd/config.toml` says. An option that is not listed here is passed on as it is; the daemon
        knows whether there is such a thing, and is asked when the system is built.
      '';
    };

    checkConfig = mkOption {
      type = types.bool;
      default = pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform;
      defaultText = lib.literalMD "whether programs for this host can run where it is built";
      description = "Run `gitopsctl config check` when the system is built.";
    };

    extraPackages = mkOption {
      type = types.listOf types.package;
      default = [ ];
      example = literalExpression "[ pkgs.curl ]";
      description = "More programs on the daemon's path, for probes, checks and notifications. With `pkgs.betterleaks` the secrets gate asks that instead of gitleaks.";
    };

    sync.onCalendar = mkOption {
      type = types.nullOr types.str;
      default = "*:0/15";
      example = "hourly";
      description = "When dotfiles are brought in step (systemd.time(7)); null is never by itself.";
    };

    upgrade.onCalendar = mkOption {
      type = types.nullOr types.str;
      default = "04:40";
      example = "*:0/30";
      description = "When dotfiles and the system are brought in step (systemd.time(7)); null is never by itself.";
    };
  };

  config = mkIf cfg.enable {
    services.gitopsd.settings.host = mkDefault config.networking.hostName;

    assertions = [
      {
        assertion = settings.dotfiles != [ ] || settings.config != null;
        message = ''
          services.gitopsd has nothing to do: no repository is named.
          Set services.gitopsd.settings.config.repo_url for the system, or
          services.gitopsd.settings.dotfiles = [ { user = "…"; repo_url = "…"; } ]; for a person's dotfiles.
        '';
      }
      {
        assertion =
          settings.config == null
          || settings.config.repo_url != ""
          || settings.config.checkout != "";
        message = ''
          services.gitopsd.settings.config has no repo_url: there is nowhere to fetch the configuration from.
          Set services.gitopsd.settings.config.repo_url = "git@…";
          In a checkout, `git remote get-url origin` prints it.
        '';
      }
      {
        assertion =
          settings.config == null
          || !(settings.config.commit_local or false)
          || settings.config.checkout != "";
        message = ''
          services.gitopsd.settings.config.commit_local publishes the edits of a checkout, and there is none.
          Set services.gitopsd.settings.config.checkout = "/home/…/nix-config"; or leave commit_local out.
        '';
      }
      {
        assertion = !(config.system.autoUpgrade.enable or false) || settings.config == null;
        message = ''
          system.autoUpgrade and services.gitopsd would both switch this system, each undoing the other.
          Set system.autoUpgrade.enable = false;
        '';
      }
    ]
    ++ concatMap (
      { index, person }:
      [
        {
          assertion = person.user != null;
          message = ''
            services.gitopsd.settings.dotfiles, entry ${toString index}: whose are they?
            Set user = "…"; to a login name of this host.
          '';
        }
        {
          assertion = person.repo_url != null && person.repo_url != "";
          message = ''
            services.gitopsd.settings.dotfiles, entry ${toString index}: there is no repo_url to fetch from.
            Set repo_url = "git@…";
            In the source directory (`chezmoi source-path`), `git remote get-url origin` prints it.
          '';
        }
      ]
    ) people;

    warnings =
      optional (settings.config != null && settings.verify.validate_units == [ ]) ''
        services.gitopsd.settings.verify.validate_units is empty: a system without your services counts as good.
        Name what must run, such as [ "sshd.service" ].
      ''
      ++ optional (settings.config != null && !(settings.boot.auto_pin or true)) ''
        services.gitopsd.settings.boot.auto_pin is off: until you run `gitopsctl golden pin` on this host there is
        no golden generation, and a system that does not boot is not fallen back from.
      ''
      ++ concatMap (
        { person, ... }:
        optional (person.user != null && !(config.users.users ? ${person.user})) ''
          services.gitopsd.settings.dotfiles names the user ${person.user}, who is not in users.users.
          If nobody of that name can log in, their dotfiles are left out.
        ''
      ) people;

    environment.systemPackages = [
      cfg.package
    ]
    ++ optionals (settings.dotfiles != [ ]) [
      pkgs.chezmoi
      pkgs.git
      pkgs.git-filter-repo
      pkgs.gitleaks
      pkgs.jujutsu
      pkgs.sops
    ];
    environment.etc."gitopsd/config.toml".source = if cfg.checkConfig then checked else raw;

    # The files of the units, with their hardening, are those of every distribution (units/); here is what NixOS adds.
    systemd.packages = [ cfg.package ];

    systemd.services = mkMerge [
      # A switch never restarts what drives it, or what follows it.
      (mapAttrs (_: wanted: wanted // { restartIfChanged = false; }) (installed.service or { }))
      {
        gitopsd = {
          # Its tools, and what those run: ssh for git, setpriv to become a person.
          path = [
            config.nix.package
            pkgs.age
            pkgs.chezmoi
            pkgs.git
            pkgs.gitleaks
            pkgs.gnupg
            pkgs.gnutar
            pkgs.jujutsu
            pkgs.openssh
            pkgs.sops
            pkgs.util-linux
          ]
          ++ cfg.extraPackages;
          reloadTriggers = [ config.environment.etc."gitopsd/config.toml".source ];
          unitConfig.X-StopOnRemoval = false;
        };

        # For `journalctl -x`. The unit is systemd's and asks whether /usr has changed, which it never does on NixOS.
        systemd-journal-catalog-update = {
          environment.SYSTEMD_CATALOG_SOURCES = "${catalogs}";
          unitConfig.ConditionNeedsUpdate = [ "" ];
        };
      }
    ];
    systemd.sockets = installed.socket or { };
    systemd.targets = installed.target or { };
    systemd.timers = mkMerge [
      (installed.timer or { })
      {
        gitopsd-sync = onCalendar cfg.sync.onCalendar;
        gitopsd-upgrade = onCalendar cfg.upgrade.onCalendar;
      }
    ];

    users.users = mkIf buildsAsUser {
      ${buildUser} = {
        isSystemUser = true;
        group = buildUser;
        home = "/var/cache/${buildUser}/home";
        description = "gitopsd's evaluations and builds";
      };
    };
    users.groups = mkMerge [
      (mkIf buildsAsUser { ${buildUser} = { }; })
      (mkIf ((settings.control.group or "") != "") { ${settings.control.group} = { }; })
    ];

    systemd.tmpfiles.rules = [
      "d /var/lib/gitopsd 0700 root root -"
    ]
    ++ optionals ((settings.metrics.textfile or "") != "") [
      "d ${builtins.dirOf settings.metrics.textfile} 0755 root root -"
    ];
  };
}
