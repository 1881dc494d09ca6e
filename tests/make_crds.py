"""Cut what the operators' definitions say about our objects down to what these use, for tests/unit/test_kubernetes.py.

A field that no object of ours has is left out, so one that is added or misspelt is unknown until this is run again with
the operators' own files: python -m tests.make_crds FILE... > tests/vectors/operators.json

For Kubernetes' own objects see tests/make_kubernetes.py.

Made from Strimzi 1.3 (install/cluster-operator/04*-Crd-*.yaml), KEDA after 2.20 and ClickHouse's operator of February
2026 (both config/crd/bases), all under the Apache License 2.0.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

KUBERNETES = Path(__file__).parent.parent / "infra" / "kubernetes"
ORIGIN = "Cut from the definitions of Strimzi, KEDA and ClickHouse's operator, Apache-2.0, by tests/make_crds.py"
KEPT = {
    "additionalProperties",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "type",
}

Schema = dict[str, Any]


def definitions(documents: list[Any]) -> dict[str, Schema]:
    """Return the schemas of definitions, by apiVersion and kind, without their prose; unknown fields are refused."""
    found = {}
    for document in documents:
        spec = document["spec"]
        for version in spec["versions"]:
            name = f"{spec['group']}/{version['name']} {spec['names']['kind']}"
            found[name] = version["schema"]["openAPIV3Schema"]
    return found


def cut(schema: Schema, used: list[Any], named: Mapping[str, Schema] = MappingProxyType({})) -> Schema:
    """Return a schema with the fields that some of these values have, and with what it refers to by name in place."""
    if "$ref" in schema:
        return cut(named[schema["$ref"].rpartition("/")[2]], used, named)
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    kept = {name: value for name, value in schema.items() if name in KEPT}
    if "properties" in schema:
        objects = [value for value in used if isinstance(value, dict)]
        kept["properties"] = {
            name: cut(inner, [value[name] for value in objects if name in value], named)
            for name, inner in schema["properties"].items()
            if any(name in value for value in objects)
        }
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            kept["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        inner = [inner for value in used if isinstance(value, dict) for inner in value.values()]
        kept["additionalProperties"] = cut(schema["additionalProperties"], inner, named)
    if "items" in schema:
        items = [item for value in used if isinstance(value, list) for item in value]
        kept["items"] = cut(schema["items"], items, named)
    return kept


def ours() -> dict[str, list[Any]]:
    """Return all our objects by apiVersion and kind."""
    found: dict[str, list[Any]] = {}
    for path in sorted(KUBERNETES.rglob("*.yaml")):
        for resource in yaml.safe_load_all(path.read_text()):
            found.setdefault(f"{resource['apiVersion']} {resource['kind']}", []).append(resource)
    return found


def made(documents: list[Any]) -> dict[str, Schema]:
    """Return the cut schemas of all our objects that the operators define."""
    known = definitions(documents)
    schemas = {}
    for name, resources in sorted(ours().items()):
        if name not in known:
            continue
        schemas[name] = cut(known[name], resources)
        # What every object has is Kubernetes' own, and the definitions leave it out.
        schemas[name]["properties"]["metadata"] = {"type": "object"}
    return schemas


if __name__ == "__main__":
    given = [document for name in sys.argv[1:] for document in yaml.safe_load_all(Path(name).read_text())]
    schemas = made([document for document in given if document])
    json.dump({"origin": ORIGIN, "schemas": schemas}, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
