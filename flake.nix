{
  description = "Keeps dotfiles and NixOS systems in step through plain git, and rolls back what proves bad";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forEach = make: lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = forEach (pkgs: rec {
        gitopsd = pkgs.callPackage ./packaging/package.nix { };
        inherit (gitopsd) asyncvarlink;
        default = gitopsd;
      });

      overlays.default = final: _prev: {
        gitopsd = final.callPackage ./packaging/package.nix { };
      };

      nixosModules = {
        default = ./packaging/module.nix;
        gitopsd = ./packaging/module.nix;
        # The option names of before, on top of it.
        compat = ./packaging/compat.nix;
      };

      devShells = forEach (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${pkgs.stdenv.hostPlatform.system}.default ];
          packages = with pkgs; [
            chezmoi
            deadnix
            git
            jujutsu
            nixfmt
            ruff
            statix
            (python3.withPackages (python: [
              python.hypothesis
              python.mypy
              python.pytest
              python.pytest-asyncio
            ]))
          ];
        };
      });

      formatter = forEach (pkgs: pkgs.nixfmt-tree);

      checks = forEach (pkgs: {
        package = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
        nix =
          pkgs.runCommand "nix-lint"
            {
              nativeBuildInputs = [
                pkgs.deadnix
                pkgs.nixfmt
                pkgs.statix
              ];
            }
            ''
              cd ${self}
              nixfmt --check flake.nix packaging/*.nix
              deadnix --fail flake.nix packaging
              statix check packaging
              touch $out
            '';
        vm = pkgs.testers.runNixOSTest (import ./packaging/vm-test.nix { inherit self; });
      });
    };
}
