# nixpkgs has no asyncvarlink. From PyPI, where its author publishes it.
{
  lib,
  buildPythonPackage,
  fetchPypi,
  flit-core,
  hypothesis,
  pytestCheckHook,
}:
buildPythonPackage rec {
  pname = "asyncvarlink";
  version = "0.3.3";
  pyproject = true;

  src = fetchPypi {
    inherit pname version;
    hash = "sha256-AnDjUtXI1TSLkPVHpCFb+zemuCm4Q0GCL4AnPoMNrdQ=";
  };

  build-system = [ flit-core ];
  nativeCheckInputs = [
    hypothesis
    pytestCheckHook
  ];
  pythonImportsCheck = [ "asyncvarlink" ];

  meta = {
    description = "Varlink for asyncio, driven by types";
    homepage = "https://github.com/helmutg/asyncvarlink";
    license = lib.licenses.lgpl2Plus;
  };
}
