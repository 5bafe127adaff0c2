# Written by docs/generate.py from gitopsd/config/; edit that.
{ lib, toml }:
let
  inherit (lib) mkOption types;
  # A number of seconds, or text such as "30s", "5min", "1h 30min".
  duration = types.either types.numbers.nonnegative (types.strMatching "( *[0-9]+([.][0-9]+)? *(ms|s|sec|m|min|h|d) *)+");
  # A number of bytes, or text such as "500M", "1.5G".
  size = types.either types.ints.unsigned (types.strMatching "[0-9]+([.][0-9]+)? *[KMGT]?");
  unitName = types.strMatching "[a-zA-Z0-9_@:.\\-]+[.][a-z]+";
in
{
  host = mkOption {
    type = types.str;
    description = "The name of this host under `nixosConfigurations`; default is the hostname.";
  };
  dotfiles = mkOption {
    type = types.listOf (
      types.submodule {
        freeformType = toml;
        options = {
          user = mkOption {
            type = types.nullOr types.str;
            default = null;
            description = "Login name; every command for these dotfiles runs as this person.";
          };
          repo_url = mkOption {
            type = types.nullOr types.str;
            default = null;
            description = "The remote, as git takes it.";
          };
          trunk = mkOption {
            type = types.str;
            default = "main";
            description = "The branch that all hosts share.";
          };
          source = mkOption {
            type = types.str;
            default = ".local/share/chezmoi";
            description = "Chezmoi's source directory, relative to the home.";
          };
          auto_commit = mkOption {
            type = types.bool;
            default = true;
            description = "Capture edits of the home.";
          };
          auto_push = mkOption {
            type = types.bool;
            default = true;
            description = "Publish what was captured.";
          };
          deletions = mkOption {
            type = types.enum [ "report" "capture" ];
            default = "report";
            description = "What to do with a file that was deleted in the home: `report` it, or `capture` it, which takes it out of the repository. A home that looks lost deletes nothing.";
          };
          ssh_key = mkOption {
            type = types.str;
            default = "";
            description = "A private key, which this person can read: the one that is shown to the remote, and no other. Host keys are always checked: a remote that ssh does not know is refused.";
          };
          merge = mkOption {
            type = types.submodule {
              freeformType = toml;
              options = {
                union = mkOption {
                  type = types.listOf types.str;
                  default = [ ];
                  description = "Patterns of repository paths, such as `dot_bash_history` or `**/known_hosts`. These are lists of lines: where both sides changed the same lines, both are kept and nobody is asked.";
                };
              };
            };
            default = { };
            description = "Files that are merged in a way of their own, for the `[[dotfiles]]` entry above it.";
          };
        };
      }
    );
    default = [ ];
    description = "One person of this host whose dotfiles are kept in step.";
  };
  config = mkOption {
    type = types.nullOr (
      types.submodule {
        freeformType = toml;
        options = {
          repo_url = mkOption {
            type = types.str;
            default = "";
            description = "The remote, as git takes it; empty is the remote `origin` of the checkout.";
          };
          branch = mkOption {
            type = types.str;
            default = "main";
            description = "What is deployed.";
          };
          testing = mkOption {
            type = types.bool;
            default = true;
            description = "Where the branch `testing-HOST` is on top of it, run that one on this host, until the next reboot.";
          };
          directory = mkOption {
            type = types.str;
            default = "";
            description = "Of the flake in the repository; empty is its root.";
          };
          flake = mkOption {
            type = types.bool;
            default = true;
            description = "The repository is a flake with this host under `nixosConfigurations`. Else `file` and `attr` say what is built. Such a file finds no channels (`<nixpkgs>`): pin nixpkgs in the repository.";
          };
          file = mkOption {
            type = types.str;
            default = "default.nix";
            description = "Of a repository that is no flake, below `directory`.";
          };
          attr = mkOption {
            type = types.str;
            default = "";
            description = "Of that file: the system's `config.system.build.toplevel`.";
          };
          build_user = mkOption {
            type = types.str;
            default = "gitopsd-build";
            description = "A system user that evaluates the configuration, and builds through the nix daemon. Where that cannot be, root does it, and each upgrade's record and `gitopsctl doctor` say why. `root` is for a configuration that fetches with root's keys while it is evaluated; the inputs of a flake need none.";
          };
          build_timeout = mkOption {
            type = duration;
            default = "1h";
            description = "How long fetching, evaluation and build may take.";
          };
          memory_max = mkOption {
            type = types.str;
            default = "75%";
            description = "What evaluation may take of the memory, in percent of it or as a size, or `infinity`; builds too where no nix daemon does them. What takes more is ended, and the revision stays eligible. Without the memory controller of cgroup v2 it is a limit of each process (RLIMIT_DATA).";
          };
          checkout = mkOption {
            type = types.str;
            default = "";
            description = "A person's checkout of the repository. A clean one is fast-forwarded to the branch, as its owner; one with edits or commits of its own is left as it is, and status says so.";
          };
          commit_local = mkOption {
            type = types.bool;
            default = false;
            description = "Publish what is edited in the checkout, by its owner or by whatever else: merged with the branch where that is possible, parked beside it on `gitopsd/HOST` where it is not. For desktops; servers only pull.";
          };
          update_inputs = mkOption {
            type = types.bool;
            default = false;
            description = "Refresh the inputs of the flake, in a commit of its own, when there is nothing else to publish.";
          };
          ssh_key = mkOption {
            type = types.str;
            default = "";
            description = "A private key: the one that is shown to the remote, and no other. Host keys are always checked.";
          };
          signatures = mkOption {
            type = types.nullOr (
              types.submodule {
                freeformType = toml;
                options = {
                  ssh_allowed_signers = mkOption {
                    type = types.str;
                    default = "";
                    description = "A file of SSH keys as in ssh-keygen(1), ALLOWED SIGNERS. The time that a key is valid for is compared with the commit's own date, as git does: take a key that was lost out of the file.";
                  };
                  gpg_keyring = mkOption {
                    type = types.str;
                    default = "";
                    description = "A file of GPG public keys, as `gpg --export` writes it.";
                  };
                  gpg_fingerprints = mkOption {
                    type = types.listOf types.str;
                    default = [ ];
                    description = "Only these primary keys of the keyring; empty is all of them.";
                  };
                };
              }
            );
            default = null;
            description = "Whose commits are deployed. Without this section, everybody's who can push.";
          };
          pre_update_hooks = mkOption {
            type = types.listOf (
              types.submodule {
                freeformType = toml;
                options = {
                  unit = mkOption {
                    type = types.nullOr unitName;
                    default = null;
                    description = "What is started.";
                  };
                  required = mkOption {
                    type = types.bool;
                    default = true;
                    description = "If it fails before the update, nothing is built; if it fails after it, the new system has not proved good. One that is not required is noted.";
                  };
                  timeout = mkOption {
                    type = duration;
                    default = "5min";
                    description = "How long it may take, after which it is stopped.";
                  };
                };
              }
            );
            default = [ ];
            description = "A unit that is started and waited for.";
          };
          post_update_hooks = mkOption {
            type = types.listOf (
              types.submodule {
                freeformType = toml;
                options = {
                  unit = mkOption {
                    type = types.nullOr unitName;
                    default = null;
                    description = "What is started.";
                  };
                  required = mkOption {
                    type = types.bool;
                    default = true;
                    description = "If it fails before the update, nothing is built; if it fails after it, the new system has not proved good. One that is not required is noted.";
                  };
                  timeout = mkOption {
                    type = duration;
                    default = "5min";
                    description = "How long it may take, after which it is stopped.";
                  };
                };
              }
            );
            default = [ ];
            description = "A unit that is started and waited for.";
          };
        };
      }
    );
    default = null;
    description = "The repository that holds the NixOS configuration.";
  };
  switch = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        mode = mkOption {
          type = types.enum [ "switch" "boot" "test" ];
          default = "switch";
          description = "`switch` (now, then verified, then the boot default), `boot` (at the next reboot only), or `test` (now, and verified, but never the boot default: each reboot goes back, and the next upgrade runs the newest again).";
        };
        timeout = mkOption {
          type = duration;
          default = "15min";
          description = "How long switch-to-configuration may take.";
        };
      };
    };
    default = { };
    description = "How a new system is activated.";
  };
  verify = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        validate_units = mkOption {
          type = types.listOf unitName;
          default = [ ];
          description = "Units that must be active, and stay so. A service that is started by its socket only is active once somebody has asked it: name the socket.";
        };
        soak = mkOption {
          type = duration;
          default = "30s";
          description = "For how long.";
        };
        deadline = mkOption {
          type = duration;
          default = "5min";
          description = "How long they may take to become active, and the probes to pass.";
        };
        probes = mkOption {
          type = types.listOf (
            types.submodule {
              freeformType = toml;
              options = {
                tcp = mkOption {
                  type = types.str;
                  default = "";
                  description = "`host:port` that takes a connection.";
                };
                http = mkOption {
                  type = types.str;
                  default = "";
                  description = "A URL that answers with a status below 400.";
                };
                command = mkOption {
                  type = types.listOf types.str;
                  default = [ ];
                  description = "A program with its arguments that ends with status 0; it runs as root, in `/`, with a small environment.";
                };
                timeout = mkOption {
                  type = duration;
                  default = "5s";
                  description = "How long one try may take.";
                };
                boot = mkOption {
                  type = types.bool;
                  default = false;
                  description = "It is asked at every boot too, before the boot counts as good.";
                };
              };
            }
          );
          default = [ ];
          description = "A question that the new system must answer, in one of three ways.";
        };
        reachability = mkOption {
          type = types.bool;
          default = true;
          description = "The configuration's remote, if it could be reached before, must be reachable through the new system: a host that cannot fetch any more cannot be repaired by a push. So must the one that the new system's own config.toml names.";
        };
        reach_within = mkOption {
          type = duration;
          default = "1min";
          description = "How long the network of a new system may take to come up for that.";
        };
        on_validation_failure = mkOption {
          type = types.enum [ "rollback" "keep" ];
          default = "rollback";
          description = "`rollback`, or `keep` the new system and report.";
        };
        validation_checks = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "Shell commands that must end with status 0 before anything is switched; `$TOPLEVEL` is the store path that was built. They run as root, in `/`, with a small environment, and change nothing.";
        };
        validation_timeout = mkOption {
          type = duration;
          default = "1min";
          description = "How long each of them may take.";
        };
      };
    };
    default = { };
    description = "What a new system must prove.";
  };
  boot = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        max_attempts = mkOption {
          type = types.ints.unsigned;
          default = 2;
          description = "How many bad boots of a generation make it fall back to the golden one; from 1 to 20.";
        };
        auto_pin = mkOption {
          type = types.bool;
          default = true;
          description = "A generation that has booted well becomes golden.";
        };
        on_boot_failure = mkOption {
          type = types.enum [ "reboot" "stay" ];
          default = "reboot";
          description = "After a bad boot, `reboot` (into the next attempt, or into golden), or `stay`.";
        };
        trial_only = mkOption {
          type = types.bool;
          default = true;
          description = "Only a generation that has never booted well is rebooted or fallen back from. One that has, and now boots badly, points at the world around it, such as a network that is down: it is reported and left alone.";
        };
        deadline = mkOption {
          type = duration;
          default = "5min";
          description = "How long the units and probes may take, from the moment that verify starts.";
        };
        soak = mkOption {
          type = duration;
          default = "10s";
          description = "How long the units must stay active.";
        };
      };
    };
    default = { };
    description = "What a boot must prove, and what follows if it does not.";
  };
  space = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        store = mkOption {
          type = size;
          default = 1073741824;
          description = "In the file system of `/nix/store`, before a build.";
        };
        boot = mkOption {
          type = size;
          default = 16777216;
          description = "In that of the boot loader's files, beside the kernel and initrd of the new system unless it has them.";
        };
        boot_path = mkOption {
          type = types.str;
          default = "/boot";
          description = "Where the boot loader's files are.";
        };
      };
    };
    default = { };
    description = "What must be free before anything is built or switched. A lack of it is never held against a revision.";
  };
  retry = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        fetch = mkOption {
          type = types.submodule {
            freeformType = toml;
            options = {
              attempts = mkOption {
                type = types.ints.unsigned;
                default = 4;
                description = "At most; 1 is no retry.";
              };
              first = mkOption {
                type = duration;
                default = "1s";
                description = "The upper bound of the first wait; it doubles with each attempt, with full jitter.";
              };
              longest = mkOption {
                type = duration;
                default = "1min";
                description = "The upper bound of any wait.";
              };
            };
          };
          default = { attempts = 3; };
          description = "How often a transient failure of a state is tried again.";
        };
        capture = mkOption {
          type = types.submodule {
            freeformType = toml;
            options = {
              attempts = mkOption {
                type = types.ints.unsigned;
                default = 4;
                description = "At most; 1 is no retry.";
              };
              first = mkOption {
                type = duration;
                default = "1s";
                description = "The upper bound of the first wait; it doubles with each attempt, with full jitter.";
              };
              longest = mkOption {
                type = duration;
                default = "1min";
                description = "The upper bound of any wait.";
              };
            };
          };
          default = { };
          description = "How often a transient failure of a state is tried again.";
        };
        push = mkOption {
          type = types.submodule {
            freeformType = toml;
            options = {
              attempts = mkOption {
                type = types.ints.unsigned;
                default = 4;
                description = "At most; 1 is no retry.";
              };
              first = mkOption {
                type = duration;
                default = "1s";
                description = "The upper bound of the first wait; it doubles with each attempt, with full jitter.";
              };
              longest = mkOption {
                type = duration;
                default = "1min";
                description = "The upper bound of any wait.";
              };
            };
          };
          default = { attempts = 5; };
          description = "How often a transient failure of a state is tried again.";
        };
        pull = mkOption {
          type = types.submodule {
            freeformType = toml;
            options = {
              attempts = mkOption {
                type = types.ints.unsigned;
                default = 4;
                description = "At most; 1 is no retry.";
              };
              first = mkOption {
                type = duration;
                default = "1s";
                description = "The upper bound of the first wait; it doubles with each attempt, with full jitter.";
              };
              longest = mkOption {
                type = duration;
                default = "1min";
                description = "The upper bound of any wait.";
              };
            };
          };
          default = { };
          description = "How often a transient failure of a state is tried again.";
        };
        build = mkOption {
          type = types.submodule {
            freeformType = toml;
            options = {
              attempts = mkOption {
                type = types.ints.unsigned;
                default = 4;
                description = "At most; 1 is no retry.";
              };
              first = mkOption {
                type = duration;
                default = "1s";
                description = "The upper bound of the first wait; it doubles with each attempt, with full jitter.";
              };
              longest = mkOption {
                type = duration;
                default = "1min";
                description = "The upper bound of any wait.";
              };
            };
          };
          default = { attempts = 3; first = "5s"; };
          description = "How often a transient failure of a state is tried again.";
        };
      };
    };
    default = { };
    description = "For the states that are ever tried again. Switch, verify and rollback never are.";
  };
  timeouts = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        fetch = mkOption {
          type = duration;
          default = "5min";
          description = "See `timeouts.fetch` in the reference.";
        };
        capture = mkOption {
          type = duration;
          default = "5min";
          description = "See `timeouts.capture` in the reference.";
        };
        push = mkOption {
          type = duration;
          default = "5min";
          description = "See `timeouts.push` in the reference.";
        };
        pull = mkOption {
          type = duration;
          default = "5min";
          description = "See `timeouts.pull` in the reference.";
        };
      };
    };
    default = { };
    description = "After which a step is ended with everything it started.";
  };
  reboot = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        policy = mkOption {
          type = types.enum [ "never" "when-required" "window" ];
          default = "never";
          description = "`never`, `when-required` (as soon as it is at rest), or `window`.";
        };
        windows = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "For the policy `window`, in local time, bounds included: `02:00-04:00`, `Sat,Sun 01:00-05:00`. One that goes over midnight belongs to the day on which it begins.";
        };
        time_zone = mkOption {
          type = types.str;
          default = "";
          description = "Such as `Europe/Berlin`; empty is the host's.";
        };
        sessions = mkOption {
          type = types.enum [ "wait" "ignore" ];
          default = "wait";
          description = "`wait` until nobody is logged in, or `ignore` them.";
        };
      };
    };
    default = { };
    description = "Whether this host reboots by itself when that is required: for another kernel, initrd, kernel modules or systemd, or for a system that could only be made the boot default. Only into a system that gitopsd deployed, only at rest, never while suspended, and never twice for the same system.";
  };
  control = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        group = mkOption {
          type = types.str;
          default = "";
          description = "Members may do everything; empty is nobody.";
        };
      };
    };
    default = { };
    description = "Who may change things over the socket, beside root.";
  };
  history = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        cycles = mkOption {
          type = types.ints.unsigned;
          default = 5000;
          description = "How many finished cycles are kept.";
        };
      };
    };
    default = { };
    description = "What is remembered.";
  };
  files = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        sync_status = mkOption {
          type = types.str;
          default = "/var/lib/chezmoi-sync/last-sync-status";
          description = "The last sync in one word, as it was before gitopsd; empty is no file.";
        };
      };
    };
    default = { };
    description = "What is written for scripts.";
  };
  metrics = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        textfile = mkOption {
          type = types.str;
          default = "/run/gitopsd/metrics/gitopsd.prom";
          description = "Where they are written for node_exporter's textfile collector, which must be told the directory; empty writes none.";
        };
        listen = mkOption {
          type = types.str;
          default = "";
          description = "`address:port` of the loopback interface where they are served over HTTP; empty serves none.";
        };
      };
    };
    default = { };
    description = "Figures for Prometheus.";
  };
  notify = mkOption {
    type = types.submodule {
      freeformType = toml;
      options = {
        command = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "A program with its arguments; the event is JSON on its standard input. It runs as root, in `/`, with a small environment; another status than 0 is a failure.";
        };
        webhook = mkOption {
          type = types.str;
          default = "";
          description = "A URL that the event is posted to as JSON, or the absolute path of a file that holds one: a URL may be a secret. A status of 300 or more is a failure.";
        };
        unit = mkOption {
          type = types.str;
          default = "";
          description = "A unit to start. Of a template such as `gitopsd-notify@.service`, the instance is the event with hyphens, such as `rolled-back`.";
        };
        events = mkOption {
          type = types.listOf types.str;
          default = [ "rolled back" "blocked" "build failed" "cycle failed" "offline for long" "boot bad" "boot rollback" "state file damaged" ];
          description = "Which events, by their names in the journal.";
        };
        timeout = mkOption {
          type = duration;
          default = "30s";
          description = "How long a receiver may take.";
        };
        give_up = mkOption {
          type = duration;
          default = "24h";
          description = "For how long a receiver that fails is tried again.";
        };
        offline_after = mkOption {
          type = duration;
          default = "24h";
          description = "How long no remote may answer before that is an event.";
        };
      };
    };
    default = { };
    description = "Who is told of events. A receiver that is slow or away holds nothing up, and is told again later.";
  };
}
