"""Whether the Hub is asked at all: its libraries are told before they are imported."""

import os
import socket
import subprocess
import sys

import pytest

from rmbench.suite.hub import spare_retries


@pytest.fixture(autouse=True)
def as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is set, no proxy is there, and nothing has imported the Hub's library."""
    for name in ("HF_ENDPOINT", "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "")  # so that the end of the test sets it back
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delitem(sys.modules, "huggingface_hub", raising=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No name can be resolved; the list has those that were asked for."""
    names: list[str] = []

    def fail(host: str, *_: object) -> None:
        names.append(host)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    return names


def test_without_a_name_server_the_libraries_are_told_not_to_try(asked: list[str]) -> None:
    spare_retries()
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert asked == ["huggingface.co"]


def test_a_hub_that_answers_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        spare_retries()
    assert "HF_HUB_OFFLINE" not in os.environ


def test_a_hub_that_is_down_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
    spare_retries()
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_mirror_is_the_host_that_counts(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example:8443/path")
    spare_retries()
    assert asked == ["hub.example"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_HUB_OFFLINE", "0"),
        ("https_proxy", "http://proxy.example:3128"),
        ("HF_ENDPOINT", "no-address"),
    ],
)
def test_what_the_user_has_set_up_stays(
    name: str, value: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    spare_retries()
    assert not asked
    assert os.environ.get("HF_HUB_OFFLINE") in (None, "0")


def test_hosts_without_a_proxy_are_no_proxy(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "localhost")
    spare_retries()
    assert asked == ["huggingface.co"]


def test_an_address_that_is_none_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://.foo")  # getaddrinfo raises UnicodeError
    spare_retries()
    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_a_model_that_is_not_cached_is_refused_without_a_retry() -> None:
    program = (
        "import socket\n"
        "def fail(*_): raise socket.gaierror(-2, 'Name or service not known')\n"
        "socket.getaddrinfo = fail\n"
        "from rmbench.cli import main\n"
        "main(['run', '--model', 'org/none', '--suite', 'mini', '--no-cache'])\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "rmbench: org/none: not in the cache, and the Hub (https://huggingface.co) cannot be"
        " reached; run once with a network to cache it, or give a local folder\n"
    )
