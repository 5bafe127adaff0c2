# What [Install] says in the unit files of a directory: name without suffix, kind → { wantedBy, requiredBy }.
# NixOS does not read those sections, and this keeps its module and the units of other distributions in step.
{ lib }:
directory:
let
  inherit (lib)
    filter
    groupBy
    hasPrefix
    last
    listToAttrs
    mapAttrs
    removePrefix
    splitString
    ;
  files = filter (name: builtins.match ".*[.](service|socket|target|timer)" name != null) (
    builtins.attrNames (builtins.readDir directory)
  );
  kindOf = file: last (splitString "." file);
  nameOf = file: lib.removeSuffix ".${kindOf file}" file;

  # The values of a key, over all of its lines.
  valuesOf =
    key: lines:
    lib.concatMap (line: filter (word: word != "") (splitString " " (removePrefix "${key}=" line))) (
      filter (hasPrefix "${key}=") lines
    );
  wanted =
    file:
    let
      lines = splitString "\n" (builtins.readFile (directory + "/${file}"));
    in
    {
      wantedBy = valuesOf "WantedBy" lines;
      requiredBy = valuesOf "RequiredBy" lines;
    };
in
mapAttrs (
  _: ofKind:
  listToAttrs (
    map (file: {
      name = nameOf file;
      value = wanted file;
    }) ofKind
  )
) (groupBy kindOf files)
