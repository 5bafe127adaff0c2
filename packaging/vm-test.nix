# checks.vm: a real NixOS machine, set up by the module, keeps a person's dotfiles in step with a git remote and
# answers on its socket; the options of before give a system that boots. For those who have nixpkgs and KVM.
{ self }:
{
  name = "gitopsd";

  nodes = {
    malphas =
      { pkgs, ... }:
      {
        imports = [ self.nixosModules.default ];
        users.users.rain.isNormalUser = true;
        environment.systemPackages = [ pkgs.git ];
        services.openssh.enable = true;
        services.gitopsd = {
          enable = true;
          sync.onCalendar = null;
          settings = {
            dotfiles = [
              {
                user = "rain";
                repo_url = "/srv/dotfiles.git";
              }
            ];
            verify.validate_units = [ "sshd.service" ];
          };
        };
      };

    griefling = {
      imports = [ self.nixosModules.compat ];
      users.users.rain.isNormalUser = true;
      services.openssh.enable = true;
      myModules = {
        services.dotfiles.chezmoiSync = {
          enable = true;
          repoUrl = "/srv/dotfiles.git";
        };
        services.system.autoUpgrade = {
          enable = true;
          configPath = "/home/rain/nix-config";
        };
        system.boot.goldenGeneration = {
          enable = true;
          validateServices = [ "sshd.service" ];
        };
      };
    };
  };

  testScript = ''
    start_all()

    with subtest("the daemon is up, and its unit is as hard as promised"):
        malphas.wait_for_unit("gitopsd.service")
        malphas.succeed("gitopsctl status")
        malphas.succeed("systemd-analyze security --threshold=50 gitopsd.service")

    with subtest("an edit arrives at the remote"):
        malphas.succeed("git init --bare --initial-branch=main /srv/dotfiles.git")
        malphas.succeed("chown -R rain /srv/dotfiles.git")
        rain = "su - rain -c '{}'"
        for setting in ("user.name rain", "user.email rain@host", "init.defaultBranch main"):
            malphas.succeed(rain.format(f"git config --global {setting}"))
        malphas.succeed(rain.format("git clone /srv/dotfiles.git ~/.local/share/chezmoi"))
        source = "cd ~/.local/share/chezmoi && "
        commit = "echo one > dot_note && git add . && git commit -m one && git push -u origin main"
        colocate = "jj git init --colocate && jj bookmark track main@origin && chezmoi apply"
        malphas.succeed(rain.format(source + commit))
        malphas.succeed(rain.format(source + colocate))
        malphas.succeed(rain.format("echo two >> ~/.note"))
        malphas.succeed("systemctl start --wait gitopsd-sync.service")
        assert "two" in malphas.succeed("git -C /srv/dotfiles.git -c safe.directory=* show main:dot_note")

    with subtest("a switch leaves the daemon alone"):
        before = malphas.succeed("systemctl show -P MainPID gitopsd.service")
        malphas.succeed("/run/current-system/bin/switch-to-configuration test")
        assert before == malphas.succeed("systemctl show -P MainPID gitopsd.service")

    with subtest("whoever upgrades has somebody to build, and who does not has nobody"):
        ask = "NIX_REMOTE=daemon nix --extra-experimental-features nix-command store info"
        griefling.succeed(f"su -s /bin/sh gitopsd-build -c '{ask}'")
        malphas.fail("id gitopsd-build")

    with subtest("the options of before give the commands and units of before"):
        griefling.wait_for_unit("gitopsd.service")
        griefling.succeed("systemctl is-active auto-upgrade.timer")
        griefling.succeed("show-boot-status")
        griefling.succeed("chezmoi-status")
  '';
}
