{
  lib,
  python3Packages,
  glib,
  gobject-introspection,
  installShellFiles,
  util-linux,
  wrapGAppsNoGuiHook,
}:
let
  project = (lib.importTOML ../pyproject.toml).project;
  asyncvarlink =
    python3Packages.asyncvarlink or (python3Packages.callPackage ./asyncvarlink.nix { });
in
python3Packages.buildPythonApplication {
  pname = project.name;
  inherit (project) version;
  pyproject = true;

  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../CHANGELOG.md
      ../CONTRIBUTING.md
      ../LICENSE
      ../README.md
      ../docs
      ../flake.nix
      ../gitopsd
      ../packaging
      ../pyproject.toml
      ../tests
      ../units
    ];
  };

  build-system = [ python3Packages.setuptools ];
  dependencies = [
    asyncvarlink
  ]
  ++ (with python3Packages; [
    msgspec
    prometheus-client
    pydbus
    pygobject3
    rich
    sdnotify
    structlog
    tenacity
    transitions
  ]);

  nativeBuildInputs = [
    gobject-introspection
    installShellFiles
    wrapGAppsNoGuiHook
  ];
  buildInputs = [ glib ];

  # The one wrapper that Python programs get anyway also finds GLib's typelib.
  dontWrapGApps = true;
  preFixup = ''
    makeWrapperArgs+=("''${gappsWrapperArgs[@]}")
  '';

  nativeCheckInputs = with python3Packages; [
    hypothesis
    pytest
    pytest-asyncio
  ];
  checkPhase = ''
    runHook preCheck
    python -m pytest -q -p no:cacheprovider tests/unit
    runHook postCheck
  '';

  # The units name our programs without a path, for distributions that have them in /usr or /usr/local.
  postInstall = ''
    mkdir -p $out/lib/systemd/system $out/lib/systemd/catalog
    for unit in units/*.service units/*.socket units/*.target units/*.timer; do
      [ -e "$unit" ] || continue
      sed -E -e "s|/bin/kill|${util-linux}/bin/kill|" -e "s|^(Exec[A-Za-z]+=)gitops|\1$out/bin/gitops|" "$unit" \
        >"$out/lib/systemd/system/''${unit##*/}"
    done
    cp packaging/gitopsd.catalog $out/lib/systemd/catalog/
    install -Dm444 packaging/gitopsd.sysusers $out/lib/sysusers.d/gitopsd.conf
    install -Dm444 -t $out/share/gitopsd packaging/monitoring/*
    PYTHONPATH=.:$PYTHONPATH python -m docs.shell made
    installManPage made/man/*
    installShellCompletion --bash --name gitopsctl made/completions/gitopsctl.bash
    installShellCompletion --zsh --name _gitopsctl made/completions/_gitopsctl
    installShellCompletion --fish --name gitopsctl.fish made/completions/gitopsctl.fish
  '';

  pythonImportsCheck = [ "gitopsd" ];

  passthru = { inherit asyncvarlink; };

  meta = {
    inherit (project) description;
    license = lib.licenses.asl20;
    mainProgram = "gitopsctl";
    platforms = lib.platforms.linux;
  };
}
