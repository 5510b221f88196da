"""Writes what the documents repeat of the code: docs/cli.md, and the rooms in docs/layout.md.

python docs/make.py            (or: make docs)
"""

import ast
from pathlib import Path

import click

from rmbench.cli import main

ROOT = Path(__file__).parent.parent
START, END = "<!-- files -->", "<!-- /files -->"
# What stands beside the package, in the order of the tree.
BESIDE = {
    "suites/": "one TOML file per suite, shipped inside the wheel",
    "results/": "measured results with their rewards, and published numbers marked so",
    "examples/": "short scripts; the tests run each of them",
    "benchmarks/": "what measures speed and cost, run by hand",
    "docs/": "suite files, the traps, the gate, safety, performance, every option",
    "tests/": "tests of modules, suites, results, documents and imports",
    "action.yml": "the GitHub Action: run, check, job summary, artifact",
}


def cli_reference() -> str:
    """Return the help of every command, in Markdown."""
    parts = ["# The command line\n\nWritten by `make docs` from `--help`."]
    for path, command in commands(main, "rmbench"):
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        context = click.Context(command, info_name=path, terminal_width=100, **settings)
        with context:
            parts.append(f"## {path}\n\n```\n{command.get_help(context).rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def commands(command: click.Command, path: str) -> list[tuple[str, click.Command]]:
    """Return a command and all below it, with their names."""
    found = [(path, command)]
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            found += commands(command.commands[name], f"{path} {name}")
    return found


def file_tree() -> str:
    """Return the rooms of the package, each with the first line of its docstring."""
    lines = ["rmbench/"]
    folder = ROOT / "rmbench"
    rooms = sorted(path.parent for path in folder.glob("*/__init__.py"))
    lines += [f"    {room.name + '/':<26} {summary(room / '__init__.py')}" for room in rooms]
    modules = sorted(path for path in folder.glob("[!_]*.py"))
    lines += [f"    {path.name:<26} {summary(path)}" for path in modules]
    lines.append(f"    {'tiny/':<26} The small reward model, and its card.")
    lines += [f"{name:<30} {words}" for name, words in BESIDE.items()]
    return "\n".join(lines)


def summary(path: Path) -> str:
    """Return the first line of a module's docstring."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not docstring:
        raise SystemExit(f"{path}: no docstring; say in one sentence what the module does")
    return docstring.splitlines()[0]


def with_tree(page: str) -> str:
    """Return a page with the tree between its two markers."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    if not after:
        raise SystemExit(f"docs/layout.md: the markers {START} and {END} are missing")
    return f"{before}{START}\n```\n{file_tree()}\n```\n{END}{after}"


if __name__ == "__main__":
    (ROOT / "docs" / "cli.md").write_text(cli_reference(), encoding="utf-8")
    page = ROOT / "docs" / "layout.md"
    page.write_text(with_tree(page.read_text(encoding="utf-8")), encoding="utf-8")
