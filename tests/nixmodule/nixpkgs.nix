# As much of nixpkgs as it takes to evaluate the whole flake, and to run what `packaging/package.nix` itself does after
# the wheel. `lib` and the derivations are real; every package is an empty directory, and ours is made with the Python
# of the machine.
{ lib, system }:
let
  # The environment of a build is the machine's: there is no nixpkgs to take it from.
  build =
    name: attributes: script:
    derivation (
      {
        inherit name system;
        builder = "/bin/sh";
        PATH = "/usr/local/bin:/usr/bin:/bin";
        args = [
          "-euc"
          script
        ];
      }
      // attributes
    );
  package = name: build name { } "mkdir $out";

  callPackage =
    file: extra:
    let
      make = import file;
      arguments = builtins.functionArgs make;
      unknown = removeAttrs arguments (builtins.attrNames pkgs);
    in
    make (
      builtins.intersectAttrs arguments pkgs
      // lib.mapAttrs (name: _: package name) unknown
      // extra
    );

  inputs =
    {
      build-system,
      dependencies ? [ ],
      nativeCheckInputs ? [ ],
      ...
    }:
    map toString (build-system ++ dependencies ++ nativeCheckInputs);

  pkgs = {
    inherit lib callPackage system;
    stdenv.hostPlatform = { inherit system; };

    buildPythonPackage =
      attributes:
      build "${attributes.pname}-${attributes.version}" {
        inherit (attributes) src;
        inputs = inputs attributes;
      } "mkdir $out"
      // {
        inherit (attributes) meta;
      };
    fetchPypi = { hash, ... }: hash;

    python3Packages = {
      inherit callPackage;
      buildPythonApplication =
        attributes:
        build "${attributes.pname}-${attributes.version}"
          {
            inherit (attributes) src;
            inputs = inputs attributes;
          }
          ''
            mkdir -p $out/bin
            cp -r --no-preserve=mode $src source
            cd source
            mkdir python
            ln -s "$(command -v python3)" python/python
            PATH=$PWD/python:$PATH PYTHONPATH=
            installManPage() { for page; do install -Dm444 -t $out/share/man/man''${page##*.} "$page"; done; }
            installShellCompletion() { install -Dm444 -t $out/share/completions "$4"; }
            ${attributes.postInstall}
          ''
        // {
          inherit (attributes) meta;
        }
        // attributes.passthru;
    }
    // lib.genAttrs [
      "hypothesis"
      "msgspec"
      "mypy"
      "prometheus-client"
      "pydbus"
      "pygobject3"
      "pytest"
      "pytest-asyncio"
      "rich"
      "sdnotify"
      "setuptools"
      "structlog"
      "tenacity"
      "transitions"
    ] package;
    python3.withPackages =
      choose: build "python" { inputs = map toString (choose pkgs.python3Packages); } "mkdir $out";

    mkShell =
      attributes:
      build "shell" { inputs = map toString (attributes.packages ++ attributes.inputsFrom); } "mkdir $out";
    runCommand = build;
    testers.runNixOSTest = test: build test.name { inherit (test) testScript; } "mkdir $out";
  }
  // lib.genAttrs [
    "chezmoi"
    "deadnix"
    "git"
    "jujutsu"
    "nixfmt"
    "nixfmt-tree"
    "ruff"
    "statix"
    "util-linux"
  ] package;
in
pkgs
