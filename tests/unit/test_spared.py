"""Modules that are never used are not loaded, and nobody else notices."""

import importlib
import subprocess
import sys

import pytest

from streams.cli.spared import spared

NAME = "portcullis_spared_for_a_test"


def test_a_spared_module_has_classes_for_annotations_and_is_gone_afterwards() -> None:
    with spared(NAME, f"{NAME}.client"):
        client = importlib.import_module(f"{NAME}.client")
        assert client.ClientSession.__name__ == "ClientSession"
        with pytest.raises(AttributeError):
            _ = client.__path__
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(NAME)


def test_what_was_loaded_before_stays() -> None:
    before = sys.modules["json"]
    with spared("json"):
        assert importlib.import_module("json") is before
    assert sys.modules["json"] is before


def test_a_worker_loads_faust_without_a_web_server() -> None:
    code = """
import sys
from streams.cli.worker import worker_command
from streams.core.errors import PortcullisError
try:
    worker_command(succeeds=None)
except PortcullisError:  # it was told no cluster
    print("faust" in sys.modules, [name for name in sys.modules if "aiohttp" in name])
"""
    ran = subprocess.run([sys.executable, "-c", code], env={}, capture_output=True, text=True, check=False)
    assert ran.stdout == "True []\n", ran
