"""Suites by name: those that come with rmbench, and files of one's own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rmbench.errors import SuiteError, did_you_mean
from rmbench.suite.definition import MULTIMODAL, Suite
from rmbench.suite.toml import read_model, read_toml

__all__ = ["bundled_folder", "find_suite", "list_suites", "load_suite", "suite_from"]


_PACKAGE: Final = Path(__file__).parent.parent


def list_suites() -> list[str]:
    """Return the names of the bundled suites, sorted."""
    return sorted(path.stem for path in bundled_folder("suites").glob("*.toml"))


def bundled_folder(name: str) -> Path:
    """Return the folder of package data called ``name``.

    The wheel carries it inside the package; in a checkout it stands beside the package.
    """
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def find_suite(name: str) -> Path:
    """Return the file of a bundled suite, or of a path that ends in ``.toml``.

    Raises:
        SuiteError: there is no such suite or file.
    """
    if name.endswith(".toml"):
        path = Path(name)
        if not path.is_file():
            raise SuiteError(f"{name}: no such file; `rmbench suites list` names the bundled ones")
        return path
    if name not in list_suites():
        if name.lower() in MULTIMODAL:
            raise SuiteError(
                f'suite "{name}": its prompts have pictures, and rmbench scores texts alone;'
                " take a suite of texts, such as rewardbench-2"
            )
        if Path(name).exists():
            raise SuiteError(
                f"{name}: rows, not a suite file; `rmbench run --model M {name}` scores them, and"
                f" `rmbench suites new {name}` writes their suite file"
            )
        raise SuiteError(
            f'suite "{name}": no such suite; a suite of your own is given as a path that ends in'
            f" .toml; {did_you_mean(name, list_suites())}"
        )
    return bundled_folder("suites") / f"{name}.toml"


def load_suite(name: str) -> Suite:
    """Read a bundled suite by name, or a suite file by a path that ends in ``.toml``.

    Raises:
        SuiteError: no such suite, or the file breaks a rule; the message names file and key.
    """
    try:
        path = find_suite(name)
        content = read_toml(path)
    except OSError as error:
        raise SuiteError(
            f"{name}: cannot be read: {error.strerror}; check path and rights"
        ) from None
    return suite_from(content, path)


def suite_from(content: Mapping[str, Any], path: Path) -> Suite:
    """Return the suite that the content of a file states.

    Args:
        content: as TOML gives it.
        path: of the file, for messages; what a suite reads stands beside it.

    Raises:
        SuiteError: it breaks a rule; the message names file and key.
    """
    suite = read_model(Suite, content, str(path))
    for place in suite.source.places:
        is_plain = place.strip() and "\0" not in place and "\\" not in place
        folder = path.parent
        if not is_plain or not (folder / place).resolve().is_relative_to(folder.resolve()):
            key = "paths" if suite.source.paths else "path"
            raise SuiteError(
                f'{path}: [source]: {key} = "{place}" is not in the folder of the suite file;'
                " give org/name of the Hub, or a file beside the suite file"
            )
    return suite.model_copy(update={"folder": path.parent})
