"""Cut what Kubernetes' API says about our objects down to what these use, for tests/unit/test_kubernetes.py.

Made from the schemas that the package kubernetes-validate 1.37 brings, 17,000 files of which a dozen matter here:
uv run --with kubernetes-validate python -m tests.make_kubernetes > tests/vectors/kubernetes.json
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

from tests.make_crds import Schema, cut, ours

VERSIONS = ("1.31", "1.37")
"""The oldest and the newest that the files are held against."""
ORIGIN = "Cut from the API's schemas of Kubernetes, Apache-2.0, by tests/make_kubernetes.py"


def made(folder: Path) -> dict[str, Schema]:
    """Return the cut schemas of all our objects that a version's folder of schemas defines."""
    definitions = json.loads((folder / "_definitions.json").read_text())["$defs"]
    schemas = {}
    for name, resources in sorted(ours().items()):
        api_version, kind = name.split()
        group, _, version = api_version.rpartition("/")
        path = folder / f"{'-'.join(filter(None, (kind.lower(), group.partition('.')[0], version)))}.json"
        if path.is_file():
            schemas[name] = cut(json.loads(path.read_text()), resources, definitions)
    return schemas


if __name__ == "__main__":
    package = importlib.util.find_spec("kubernetes_validate")
    if package is None or package.origin is None:
        sys.exit("the package kubernetes-validate is not installed")
    all_of_them = Path(package.origin).parent / "kubernetes-json-schema"
    found = {version: made(all_of_them / f"v{version}.0-local-strict") for version in VERSIONS}
    json.dump({"origin": ORIGIN, "schemas": found}, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
