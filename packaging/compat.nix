# myModules.*: the options of configurations that were written before there was services.gitopsd. They set its
# options, each as a default, so that a line of services.gitopsd wins.
{
  config,
  lib,
  ...
}:
let
  inherit (lib)
    attrNames
    concatStringsSep
    filter
    filterAttrs
    length
    mkDefault
    mkEnableOption
    mkIf
    mkMerge
    mkOption
    optional
    types
    ;
  inherit (config.myModules.services.dotfiles) chezmoiSync;
  auto = config.myModules.services.autoUpgrade;
  inherit (config.myModules.services.system) autoUpgrade;
  inherit (config.myModules.system.boot) goldenGeneration;

  upgrades = auto.enable || autoUpgrade.enable;
  used = chezmoiSync.enable || upgrades || goldenGeneration.enable;

  persons = attrNames (filterAttrs (_: user: user.isNormalUser or false) config.users.users);

  # An upgrade begins with a sync: a hook that asks for one would wait for the upgrade that waits for it.
  hooks = filter (unit: unit != "chezmoi-pre-update.service") autoUpgrade.preUpdateHooks;

  # Hooks of the older kind are shell commands; each becomes a unit, which is what the daemon starts and waits for.
  commandUnits = lib.imap1 (number: command: {
    name = "auto-upgrade-hook-${toString number}";
    inherit command;
  }) auto.preUpdateHooks;

  # The units that other distributions install, with their hardening: [Service] as serviceConfig.
  unitOf =
    name:
    let
      lines = lib.splitString "\n" (builtins.readFile (../units/compat + "/${name}.service"));
      settings = lib.concatMap (
        line:
        let
          found = builtins.match "([A-Za-z]+)=(.*)" line;
        in
        optional (found != null) (
          lib.nameValuePair (builtins.elemAt found 0) (builtins.elemAt found 1)
        )
      ) lines;
      all = builtins.listToAttrs settings;
    in
    {
      description = all.Description;
      requires = [ all.Requires ];
      after = [ all.After ];
      restartIfChanged = false;
      serviceConfig =
        removeAttrs all [
          "Description"
          "Requires"
          "After"
        ]
        // {
          # The units name programs by their name only.
          ExecStart = "${config.services.gitopsd.package}/bin/${all.ExecStart}";
        };
    };
in
{
  imports = [ ./module.nix ];

  options.myModules = {
    services.dotfiles.chezmoiSync = {
      enable = mkEnableOption "dotfiles that are kept in step on all hosts";
      repoUrl = mkOption {
        type = types.str;
        default = "";
        example = "git@example.org:rain/dotfiles.git";
        description = "The repository of the dotfiles.";
      };
      syncBeforeUpdate = mkOption {
        type = types.bool;
        default = true;
        description = "Bring dotfiles in step before each upgrade. They always are; false also takes the timer away.";
      };
      autoCommit = mkOption {
        type = types.bool;
        default = true;
        description = "Capture what was edited in the home.";
      };
      autoPush = mkOption {
        type = types.bool;
        default = true;
        description = "Publish what was captured.";
      };
      user = mkOption {
        type = types.str;
        default = if length persons == 1 then builtins.head persons else "";
        defaultText = lib.literalMD "the only normal user, if there is one only";
        description = "Whose dotfiles.";
      };
    };

    services.autoUpgrade = {
      enable = mkEnableOption "upgrades by themselves";
      mode = mkOption {
        type = types.enum [
          "local"
          "remote"
          "switch"
          "boot"
        ];
        default = "local";
        description = ''
          `local` and `remote` said where the configuration was read from; now it is always an exact revision of the
          repository, and both mean `switch`. `boot` activates at the next reboot. For `test`, set
          `services.gitopsd.settings.switch.mode`.
        '';
      };
      preUpdateHooks = mkOption {
        type = types.listOf types.str;
        default = [ ];
        description = "Shell commands before an upgrade; one that fails ends it.";
      };
      buildBeforeSwitch = mkOption {
        type = types.bool;
        default = true;
        description = "Build before the switch. It is always so; false is refused with the reason.";
      };
      validationChecks = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "systemctl --quiet is-enabled sshd" ];
        description = "Shell commands that must succeed before the switch.";
      };
      onValidationFailure = mkOption {
        type = types.enum [
          "rollback"
          "notify"
          "ignore"
          "keep"
        ];
        default = "rollback";
        description = "What to do with a system that does not prove good; `notify` and `ignore` keep it.";
      };
    };

    services.system.autoUpgrade = {
      enable = mkEnableOption "upgrades by themselves, from a checkout";
      configPath = mkOption {
        type = types.str;
        default = "";
        example = "/home/rain/nix-config";
        description = "A checkout of the configuration. Its remote `origin` is what is deployed.";
      };
      branch = mkOption {
        type = types.str;
        default = "main";
        description = "What is deployed.";
      };
      preUpdateValidation = mkOption {
        type = types.bool;
        default = true;
        description = "Build before the switch. It is always so; false is refused with the reason.";
      };
      preUpdateHooks = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "chezmoi-pre-update.service" ];
        description = "Units that must succeed before an upgrade.";
      };
      hostCanCommitConfig = mkOption {
        type = types.bool;
        default = false;
        description = "Publish edits of the checkout.";
      };
    };

    system.boot.goldenGeneration = {
      enable = mkEnableOption "a fall-back to the last system that booted well";
      validateServices = mkOption {
        type = types.listOf types.str;
        default = [ ];
        example = [ "sshd.service" ];
        description = "Units without which neither a boot nor an upgrade counts as good.";
      };
      autoPinAfterBoot = mkOption {
        type = types.bool;
        default = true;
        description = "A system that booted well becomes the golden one.";
      };
    };
  };

  config = mkIf used {
    assertions = [
      {
        assertion = !chezmoiSync.enable || chezmoiSync.repoUrl != "";
        message = ''
          myModules.services.dotfiles.chezmoiSync has no repoUrl.
          Set myModules.services.dotfiles.chezmoiSync.repoUrl = "git@…";
          In ~/.local/share/chezmoi, `git remote get-url origin` prints it.
        '';
      }
      {
        assertion = !chezmoiSync.enable || chezmoiSync.user != "";
        message = ''
          myModules.services.dotfiles.chezmoiSync: whose dotfiles? This host has ${
            if persons == [ ] then
              "no normal user"
            else
              "${toString (length persons)} normal users (${concatStringsSep ", " persons})"
          }.
          Set myModules.services.dotfiles.chezmoiSync.user = "…";
        '';
      }
      {
        assertion = auto.buildBeforeSwitch && autoUpgrade.preUpdateValidation;
        message = ''
          gitopsd never switches to what it has not built and checked: buildBeforeSwitch and preUpdateValidation
          cannot be off. Remove the line that says false.
        '';
      }
      {
        assertion =
          !upgrades
          || autoUpgrade.configPath != ""
          || (config.services.gitopsd.settings.config.repo_url or "") != "";
        message = ''
          myModules has an upgrade, and nowhere to fetch the configuration from.
          Set myModules.services.system.autoUpgrade.configPath = "/home/…/nix-config"; or
          services.gitopsd.settings.config.repo_url = "git@…";
        '';
      }
    ];

    services.gitopsd = {
      enable = mkDefault true;
      sync.onCalendar = mkIf (!chezmoiSync.syncBeforeUpdate) (mkDefault null);
      # auto-upgrade.timer does it.
      upgrade.onCalendar = mkDefault null;

      settings = mkMerge [
        (mkIf chezmoiSync.enable {
          dotfiles = [
            {
              user = if chezmoiSync.user == "" then null else chezmoiSync.user;
              repo_url = chezmoiSync.repoUrl;
              auto_commit = chezmoiSync.autoCommit;
              auto_push = chezmoiSync.autoPush;
            }
          ];
        })
        (mkIf upgrades {
          config = mkMerge [
            { branch = mkDefault autoUpgrade.branch; }
            (mkIf (autoUpgrade.configPath != "") { checkout = mkDefault autoUpgrade.configPath; })
            (mkIf autoUpgrade.hostCanCommitConfig { commit_local = mkDefault true; })
            (mkIf (hooks != [ ] || commandUnits != [ ]) {
              pre_update_hooks = map (unit: { inherit unit; }) (
                hooks ++ map (hook: "${hook.name}.service") commandUnits
              );
            })
          ];
          verify = mkMerge [
            (mkIf (auto.validationChecks != [ ]) {
              validation_checks = auto.validationChecks;
            })
            {
              on_validation_failure = mkDefault (
                if auto.onValidationFailure == "rollback" then "rollback" else "keep"
              );
            }
          ];
          switch.mode = mkDefault (if auto.mode == "boot" then "boot" else "switch");
        })
        (mkIf goldenGeneration.enable {
          verify.validate_units = mkDefault goldenGeneration.validateServices;
          boot.auto_pin = mkDefault goldenGeneration.autoPinAfterBoot;
        })
      ];
    };

    systemd.services = mkMerge [
      (mkIf upgrades { auto-upgrade = unitOf "auto-upgrade"; })
      (mkIf chezmoiSync.enable { chezmoi-pre-update = unitOf "chezmoi-pre-update"; })
      (builtins.listToAttrs (
        map (hook: {
          inherit (hook) name;
          value = {
            description = "Before an upgrade: ${hook.command}";
            restartIfChanged = false;
            script = hook.command;
            serviceConfig.Type = "oneshot";
          };
        }) commandUnits
      ))
    ];

    systemd.timers.auto-upgrade = mkIf upgrades {
      description = "Upgrade the NixOS system, on schedule";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = "04:00";
        RandomizedDelaySec = "30min";
        Persistent = true;
        # Not auto-upgrade.service: a oneshot that a timer starts in a boot would keep that boot from ending, which is
        # what switch-to-configuration waits for.
        Unit = "gitopsd-upgrade.service";
      };
    };

    systemd.tmpfiles.rules = optional chezmoiSync.enable "d /var/lib/chezmoi-sync 0755 root root -";
  };
}
