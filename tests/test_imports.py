"""The layout: who may import whom, what costs start-up time, and what no module may do."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rmbench"

# A room imports only rooms above it in this list.
ORDER = [
    "wording",
    "errors",
    "files",
    "options",
    "cache",
    "suite",
    "engine",
    "checkpoint",
    "scorers",
    "answers",
    "accuracy",
    "result",
    "run",
    "importing",
    "compare",
    "api",
    "testing",
    "show",
    "doctor",
    "callbacks",
    "cli",
    "__main__",
]

# Everything that is not the standard library, and who may import it. numpy is for all.
THIRD_PARTY = {
    "pydantic": {"answers", "checkpoint", "options", "result", "scorers", "suite"},
    "torch": {"engine", "checkpoint", "scorers"},
    "transformers": {"engine", "checkpoint", "scorers", "callbacks"},
    "accelerate": {"callbacks"},
    "safetensors": {"checkpoint"},
    "tokenizers": {"checkpoint"},
    "peft": {"checkpoint"},
    "torchao": {"checkpoint"},
    "huggingface_hub": {"checkpoint", "show"},
    "datasets": {"suite"},
    "datasketch": {"suite"},
    "pyarrow": {"suite"},
    "pandas": {"result"},
    "pydantic_core": {"suite", "result"},
    "annotated_types": {"answers", "result"},
    "typing_extensions": {"answers", "result"},
    "platformdirs": {"cache"},
    "tabulate": {"show"},
    "httpx2": {"scorers"},
    "ray": {"answers"},
    "jinja2": {"checkpoint", "show"},
    "markupsafe": {"show"},
    "yaml": {"show"},
    "matplotlib": {"show"},
    "click": {"cli"},
    "tqdm": {"cli"},
}
DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "pydantic_core": "pydantic",
}  # where it is not the module's own name
HEAVY = {
    "torch",
    "transformers",
    "datasets",
    "datasketch",
    "pandas",
    "pyarrow",
    "matplotlib",
    "ray",
    "scipy",
}

MODULES = sorted(PACKAGE.rglob("*.py"))
# The package's own file is its surface: it names every module, and loads each on first use.
INSIDE = [path for path in MODULES if path != PACKAGE / "__init__.py"]


def label(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def unit(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted name of every module a file imports, at its top or anywhere below."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{label(path)}: a relative import"
            assert node.module is not None
            if node.module == "rmbench":
                yield from (f"rmbench.{alias.name}" for alias in node.names)
            else:
                yield node.module


def test_a_room_imports_only_rooms_above_it() -> None:
    wrong = []
    for path in INSIDE:
        above = ORDER[: ORDER.index(unit(path))]
        for name in imported(path):
            top, *rest = name.split(".")
            if top == "rmbench" and (not rest or rest[0] not in [unit(path), *above]):
                wrong.append(f"{label(path)} imports {name}")
    assert not wrong


def test_a_third_party_package_is_imported_by_its_own_rooms_alone() -> None:
    wrong = []
    for path in INSIDE:
        for name in imported(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in {"rmbench", "numpy"}:
                continue
            if unit(path) not in THIRD_PARTY.get(top, set()):
                wrong.append(f"{label(path)} imports {top}")
    assert not wrong


def test_a_module_says_what_it_is() -> None:
    for path in MODULES:
        docstring = ast.get_docstring(tree(path))
        assert docstring is not None, label(path)
        first = docstring.splitlines()[0]
        assert len(first) > 20, label(path)
        assert first[-1] in ".:?", label(path)


def test_only_the_command_line_prints_or_ends_the_program() -> None:
    banned = {"print", "exit", "quit", "sys.exit", "os._exit", "sys.stdout.write"}
    for path in INSIDE:
        if unit(path) == "cli":
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in banned, f"{label(path)}:{node.lineno} calls {called}"


def test_no_error_is_swallowed_unnamed() -> None:
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = "" if node.type is None else ast.unparse(node.type)
            allowed = {
                ("cli/__init__.py", "Exception"),  # gives a bug its exit code, after its traceback
                ("scorers/calls.py", "Exception"),  # raised once what is under way has answered
                ("scorers/calls.py", "BaseException"),  # handed from a thread to who waits for it
                ("checkpoint/child.py", "BaseException"),  # answered to whoever started the process
                ("engine/workers.py", "Exception"),  # answered to whoever started the process
                ("errors.py", "BaseException"),  # enclosed(): says what a foreign file broke
            }
            if (label(path), caught) in allowed:
                continue
            reraised = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            is_named = caught not in {"", "Exception", "BaseException"}
            assert is_named or (caught == "BaseException" and reraised), (
                f"{label(path)}:{node.lineno} catches {caught or 'everything'}"
            )


def test_no_module_is_named_for_nothing() -> None:
    names = {path.stem for path in MODULES}
    assert names.isdisjoint({"utils", "util", "common", "helpers", "base", "misc", "core"})


def test_no_two_classes_share_a_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in INSIDE:
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(label(path))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_the_order_names_no_module_that_is_gone() -> None:
    present = {unit(path) for path in INSIDE}
    assert [name for name in ORDER if name not in present] == []


def test_every_third_party_package_is_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [item for items in project["optional-dependencies"].values() for item in items]
    declared = {
        item.split(">")[0].split("=")[0].split("[")[0].replace("-", "_").lower()
        for item in [*project["dependencies"], *extras]
    }
    used = {name.split(".")[0] for path in INSIDE for name in imported(path)} & set(THIRD_PARTY)
    assert {DISTRIBUTIONS.get(name, name) for name in used} <= declared


def loaded_by(program: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after a program."""
    program += "\nimport sys\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in done.stderr.split()}


def test_help_loads_nothing_heavy() -> None:
    program = """
from rmbench.cli import main
try:
    main(["--help"])
except SystemExit as end:
    assert end.code == 0
"""
    loaded = loaded_by(program)
    assert {"rmbench", "click"} <= loaded
    assert loaded.isdisjoint(HEAVY | {"numpy", "jinja2", "tabulate"}), loaded & HEAVY


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_by("import rmbench\nrmbench.Conversation\nrmbench.load_scorer\ndir(rmbench)")
    assert "rmbench" in loaded
    assert loaded.isdisjoint(HEAVY | {"click"})


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
