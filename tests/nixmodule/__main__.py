"""Print what the modules render for the configurations that the lab's machines are made of, as JSON.

    lab run -- env PYTHONPATH=tests python3 -m nixmodule >tests/nixmodule/rendered.json

It is kept in the tree, since few have a nixpkgs at hand; where there is one, a test says whether it is still what the
modules say.
"""

import json
import sys

from nixmodule import COMPAT, KINDS, MODULE, evaluate

# Short times, and the forge of the lab; everything else as people would write it.
_LAB = """
  networking.hostName = "malphas";
  users.users.rain.isNormalUser = true;
  services.gitopsd = {
    sync.onCalendar = null;
    settings = {
      verify = {
        soak = "2s";
        deadline = "20s";
        reach_within = "10s";
      };
      retry.fetch = {
        attempts = 2;
        first = "100ms";
      };
    };
  };
"""

CONFIGURATIONS = {
    "services.gitopsd": (
        MODULE,
        f"""{{ {_LAB}
  services.gitopsd = {{
    enable = true;
    upgrade.onCalendar = "04:00";
    settings = {{
      config.repo_url = "git@forge:nix-config.git";
      dotfiles = [
        {{
          user = "rain";
          repo_url = "git@forge:dotfiles.git";
        }}
      ];
      verify.validate_units = [ "sshd.service" ];
    }};
  }};
}}""",
    ),
    "myModules": (
        COMPAT,
        f"""{{ {_LAB}
  myModules.services.dotfiles.chezmoiSync = {{
    enable = true;
    repoUrl = "git@forge:dotfiles.git";
    syncBeforeUpdate = true;
    autoCommit = true;
    autoPush = true;
  }};
  myModules.services.system.autoUpgrade = {{
    enable = true;
    configPath = "/home/rain/nix-config";
    branch = "main";
    preUpdateValidation = true;
    preUpdateHooks = [ "chezmoi-pre-update.service" ];
    hostCanCommitConfig = false;
  }};
  myModules.system.boot.goldenGeneration = {{
    enable = true;
    validateServices = [ "sshd.service" ];
    autoPinAfterBoot = true;
  }};
}}""",
    ),
}


def rendered() -> str:
    """What the modules render now, as it stands in `rendered.json`."""
    parts = {}
    for name, (module, configuration) in CONFIGURATIONS.items():
        said = evaluate(configuration, module)
        if said["failed"]:
            raise AssertionError(said["failed"])
        parts[name] = {key: said[key] for key in (*KINDS, "etc", "tmpfiles")}
    return json.dumps(parts, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(rendered())
