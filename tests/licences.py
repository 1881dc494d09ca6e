"""The licences of everything that a release brings along, as a table.

python -m tests.licences > dist/LICENCES.md
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement

PROJECT = "portcullis"
EXTRAS = ("embedded", "web", "notify", "archive", "metrics")
_CLASSIFIER = "License :: OSI Approved :: "
# Whose metadata name no licence, or only a text: what their repositories say.
_BY_HAND = {"mode-streaming": "BSD-3-Clause", "faust-streaming": "BSD-3-Clause"}


def runtime() -> dict[str, Distribution]:
    """Return every distribution that the project needs at run time, itself left out."""
    found: dict[str, Distribution] = {}
    waiting: list[tuple[str, tuple[str, ...]]] = [(PROJECT, EXTRAS)]
    while waiting:
        name, extras = waiting.pop()
        try:
            known = distribution(name)
        except PackageNotFoundError:
            continue  # of another platform
        for text in known.requires or ():
            requirement = Requirement(text)
            key = requirement.name.lower().replace("_", "-")
            applies = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            )
            if applies and key not in found and key != PROJECT:
                waiting.append((key, tuple(requirement.extras)))
                try:
                    found[key] = distribution(key)
                except PackageNotFoundError:
                    continue
    return dict(sorted(found.items()))


def licence(name: str, known: Distribution) -> str:
    """Return a distribution's licence: its SPDX expression, else what its classifiers or its word say."""
    expressions, classifiers, words = (
        [str(text) for text in known.metadata.get_all(field) or ()]
        for field in ("License-Expression", "Classifier", "License")
    )
    if expressions:
        return expressions[0]
    classified = [text.removeprefix(_CLASSIFIER) for text in classifiers if text.startswith(_CLASSIFIER)]
    if classified:
        return " AND ".join(sorted(classified))
    word = words[0].strip() if words else ""
    return _BY_HAND.get(name) or (word if word and len(word) < 60 else "")


def rows() -> Iterator[tuple[str, str, str]]:
    """Yield name, version and licence of each."""
    for name, known in runtime().items():
        yield name, known.version, licence(name, known)


def is_copyleft(text: str) -> bool:
    """Tell whether a licence asks more of whoever passes the whole on than naming it."""
    return bool(re.search(r"\bA?GPL|General Public|SSPL|BUSL|Commons Clause", text)) and "LGPL" not in text


def main() -> None:
    """Print the table."""
    lines = ["| package | version | licence |", "|---|---|---|"]
    lines += [f"| {name} | {version} | {text or 'see its files'} |" for name, version, text in rows()]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
