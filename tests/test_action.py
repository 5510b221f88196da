"""The GitHub Action and the workflows: they fit their schemas, and their shell does what is said.

The steps of action.yml run here as a runner would run them, with two stand-ins: ``python`` makes no
virtual environment but a folder with the rmbench under test, and steps that use another action are
left out.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
CI = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
DOCS = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
YAML_BLOCKS = re.findall(r"^```yaml\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
SHELL_BLOCKS = re.findall(r"^```sh\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
OURS = {
    name: (ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8")
    for name in ("ci.yml", "docs.yml", "release.yml")
}
WORKFLOWS = {**OURS, "pull request": YAML_BLOCKS[0], "main": YAML_BLOCKS[1]}

BASH = ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c"]

HOSTILE = [
    '"; touch pwned; "',
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    "x\ntouch pwned\n",
    "| touch pwned #",
]

# Stands for python: pip installs nothing, and the new environment has the rmbench under test.
PYTHON = """#!/usr/bin/env bash
set -euo pipefail
if [ "${1-} ${2-}" = "-m venv" ]; then
  mkdir -p "$3/bin"
  ln -s "$0" "$3/bin/python"
  ln -s "$(dirname "$0")/rmbench" "$3/bin/rmbench"
elif [ "${1-} ${2-}" = "-m pip" ]; then
  printf '%s\\n' "$@" > "$FAKE_LOG.pip"
else
  exec "$REAL_PYTHON" "$@"
fi
"""

REAL_RMBENCH = """#!/usr/bin/env bash
exec "$REAL_PYTHON" -c 'from rmbench.cli import main; main()' "$@"
"""

# Stands for rmbench where only the arguments matter: keeps them, and writes what a run would.
FAKE_RMBENCH = """#!/usr/bin/env bash
set -euo pipefail
printf '%s\\0' "$@" > "$FAKE_LOG.$1"
if [ "$1" = check ]; then exit "${FAKE_CHECK_CODE:-0}"; fi
echo "a table"
for argument in "$@"; do
  case "$argument" in
    --output=*) mkdir -p "${argument#*=}/mini"; cp "$FAKE_RESULT" "${argument#*=}/mini/m.json" ;;
  esac
done
"""


# --- the runner ----------------------------------------------------------------------------------


@dataclass
class Runner:
    """Runs the shell steps of the action in a folder of its own, as GitHub's runner would."""

    folder: Path
    rmbench: str = REAL_RMBENCH
    extra: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    steps: dict[str, dict[str, str]] = field(default_factory=dict)
    log: str = ""

    def __post_init__(self) -> None:
        for name in ("bin", "temp", "home", "work"):
            (self.folder / name).mkdir(parents=True)
        for name, text in (("python", PYTHON), ("rmbench", self.rmbench)):
            (self.folder / "bin" / name).write_text(text)
            (self.folder / "bin" / name).chmod(0o755)

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def summary(self) -> str:
        path = self.folder / "summary"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def run(self, **given: str) -> dict[str, str]:
        """Run the action with these inputs (``max_drop`` for ``max-drop``); return its outputs."""
        unknown = {name.replace("_", "-") for name in given} - set(ACTION["inputs"])
        assert not unknown
        inputs = {
            name: given.get(name.replace("-", "_"), item.get("default", ""))
            for name, item in ACTION["inputs"].items()
        }
        for step in ACTION["runs"]["steps"]:
            if "run" in step and self._is_due(step, inputs):
                self._step(step, inputs)
        return {
            name: self._fill(output["value"], inputs) for name, output in ACTION["outputs"].items()
        }

    def _is_due(self, step: Mapping[str, Any], inputs: Mapping[str, str]) -> bool:
        # A shell step runs where an input is given, or once the first has, whatever came after.
        given = re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) != '' \}\}", step.get("if", ""))
        if "if" in step and given is None:
            assert step["if"] == "${{ !cancelled() && steps.prepare.outcome == 'success' }}"
            return self.codes.get("Prepare") == 0
        return not any(self.codes.values()) and (given is None or bool(inputs[given[1]]))

    def _step(self, step: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
        assert step["shell"] == "bash"
        env = {name: self._fill(text, inputs) for name, text in step.get("env", {}).items()}
        outputs = self.folder / f"outputs-{len(self.codes)}"
        outputs.touch()
        done = subprocess.run(
            # An expression in a script would be filled in before the shell reads it.
            [*BASH, self._fill(step["run"], inputs)],
            cwd=self.work,
            env=self._environment() | env | {"GITHUB_OUTPUT": str(outputs)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        self.log += done.stdout + done.stderr
        self.codes[step["name"]] = done.returncode
        if "id" in step:
            self.steps[step["id"]] = read_outputs(outputs.read_text(encoding="utf-8"))

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "HOME": str(self.folder / "home"),
            "RUNNER_TEMP": str(self.folder / "temp"),
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "REAL_PYTHON": sys.executable,
            "FAKE_LOG": str(self.folder / "log"),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        } | self.extra

    def _fill(self, text: str, inputs: Mapping[str, str]) -> str:
        """Put values in the place of expressions; those that the action uses, and no others."""
        fixed = {
            "github.action_path": str(ROOT),
            "github.job": "gate",
            "github.action": "__rmbench",
            "strategy.job-index": "0",
        }

        def value(match: re.Match[str]) -> str:
            term, _, otherwise = match[1].partition(" || ")
            parts = term.split(".")
            if parts[0] == "inputs":
                found = inputs[parts[1]]
            elif parts[0] == "steps":
                found = self.steps.get(parts[1], {}).get(parts[3], "")
            else:
                found = fixed[term]
            return found or otherwise.strip("'")

        return re.sub(r"\$\{\{ (.*?) \}\}", value, text)


def read_outputs(text: str) -> dict[str, str]:
    """Return what a GITHUB_OUTPUT file sets: ``name=value``, or ``name<<END`` and lines."""
    outputs = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, mark, end = line.partition("<<")
        if mark and "=" not in name:
            block = list(iter(lambda: next(lines), end))
            outputs[name] = "\n".join(block)
        else:
            name, equals, value = line.partition("=")
            assert equals
            outputs[name] = value
    return outputs


def arguments_of(runner: Runner, command: str) -> list[str]:
    """Return the arguments that the stand-in for rmbench was given."""
    text = (runner.folder / f"log.{command}").read_bytes().decode()
    return text.split("\0")[:-1]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """The action with no baseline: the result of `length` on mini."""
    runner = Runner(tmp_path_factory.mktemp("measured") / "run")
    runner.steps["outputs"] = runner.run(model="length", suite="mini")
    return runner


@pytest.fixture(scope="module")
def length(measured: Runner) -> Path:
    return Path(measured.steps["outputs"]["result"])


# --- what the action does ------------------------------------------------------------------------


def test_without_a_baseline_it_measures_and_gives_no_verdict(measured: Runner) -> None:
    outputs = measured.steps["outputs"]
    assert set(measured.codes.values()) == {0}, measured.log
    assert outputs["verdict"] == "none"
    assert outputs["artifact"].startswith("rmbench-length-")
    assert outputs["result"] == f"{outputs['folder']}/results/mini/length.json"
    record = json.loads(Path(outputs["result"]).read_text(encoding="utf-8"))
    # In mini the chosen response is the longer one in half of the comparisons.
    assert record["averages"]["pooled"]["accuracy"] == 0.5
    assert Path(outputs["result"]).with_suffix(".jsonl").is_file()
    assert "| Chat Hard" in measured.summary
    assert Path(outputs["summary"]).read_text(encoding="utf-8") == measured.summary
    assert (measured.folder / "home/.cache/rmbench").is_dir()


def test_an_unchanged_model_passes(tmp_path: Path, length: Path) -> None:
    runner = Runner(tmp_path / "run")
    outputs = runner.run(model="length", suite="mini", baseline=str(length), max_drop="0")
    assert set(runner.codes.values()) == {0}, runner.log
    assert outputs["verdict"] == "passed"
    assert runner.summary.index("passed: ") < runner.summary.index("| Chat Hard")
    junit = ElementTree.parse(f"{outputs['folder']}/check/mini.xml").getroot()
    assert len(list(junit.iter("testcase"))) == 6  # four sections, two averages
    assert not list(junit.iter("failure"))


def test_a_worse_model_fails_and_everything_is_still_written(tmp_path: Path, length: Path) -> None:
    # `random` loses about half of the comparisons, and the baseline wins them all.
    perfect = tmp_path / "perfect" / "mini" / "random.json"
    perfect.parent.mkdir(parents=True)
    write_perfect(perfect, length)
    runner = Runner(tmp_path / "run")
    outputs = runner.run(model="random", suite="mini", baseline=str(tmp_path / "perfect"))
    assert runner.codes["Check against the baseline"] == 1, runner.log
    assert runner.codes["Write the job summary"] == 0
    assert outputs["verdict"] == "failed"
    assert "FAILED: " in runner.summary
    assert "beyond chance" in runner.summary
    assert "::error title=rmbench::" in runner.log
    junit = ElementTree.parse(f"{outputs['folder']}/check/mini.xml").getroot()
    assert len(list(junit.iter("failure"))) == 6
    assert json.loads(Path(f"{outputs['folder']}/check/mini.json").read_text())["suite"] == "mini"


def write_perfect(path: Path, length: Path) -> None:
    """Write a result like that of `length` in which every chosen response wins."""
    from rmbench.result.find import read_with_rewards

    measured = read_with_rewards(length)
    record = json.loads(length.read_text(encoding="utf-8"))
    record["model"]["id"] = "random"
    record["signature"] = record["signature"].replace("length", "random")
    for block in ("averages", "sections", "subsets"):
        for numbers in record[block].values():
            numbers |= {"accuracy": 1.0, "low": 0.9, "high": 1.0}
            numbers |= {"wins": numbers["n"]} if "wins" in numbers else {}
    path.write_text(json.dumps(record), encoding="utf-8")
    lines = [{"id": item.id, "chosen": [1.0], "rejected": [0.0]} for item in measured.rewards]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.with_suffix(".jsonl").write_text(text, encoding="utf-8")


def test_a_model_that_is_not_there_is_an_error_and_no_verdict(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "run")
    (runner.work / "results").mkdir()
    outputs = runner.run(model="./nowhere", suite="mini", baseline="results")
    assert runner.codes["Score"] == 2
    assert "Check against the baseline" not in runner.codes
    assert outputs["verdict"] == "error"
    assert runner.summary.startswith("**rmbench could not finish")


def test_a_baseline_that_is_not_there_is_an_error_and_no_verdict(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "run")
    outputs = runner.run(model="length", suite="mini", baseline="nowhere.json")
    assert runner.codes["Find the baseline"] == 2 and "Score" not in runner.codes
    assert outputs["verdict"] == "error"
    assert "::error title=rmbench::baseline nowhere.json: no such file" in runner.log


def in_git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def test_a_baseline_in_git_is_found_before_anything_is_scored(tmp_path: Path, length: Path) -> None:
    for number, (place, told) in enumerate(
        {
            "HEAD:results": "",
            "HEAD:nothing": "nothing of that name at that revision",
            "origin/main:results": "check out with fetch-depth: 0",
            "--upload-pack=x:results": "no such revision",
        }.items()
    ):
        runner = Runner(tmp_path / f"run{number}")
        shutil.copytree(length.parent, runner.work / "results" / "mini")
        in_git(runner.work, "init")
        in_git(runner.work, "add", ".")
        in_git(runner.work, "commit", "-m", "a baseline")
        outputs = runner.run(model="length", suite="mini", baseline=place)
        assert told in runner.log
        assert outputs["verdict"] == ("error" if told else "passed"), runner.log
        assert ("Score" in runner.codes) is not bool(told)


def test_a_committed_result_has_changed_only_by_more_than_rounding(
    tmp_path: Path, length: Path
) -> None:
    for factor, changed in ((1.0, "false"), (1.000001, "false"), (1.1, "true")):
        runner = Runner(tmp_path / f"by{factor}")
        place = runner.work / "results" / "mini"
        shutil.copytree(length.parent, place)
        lines = (place / "length.jsonl").read_text().splitlines()
        rows = [json.loads(line) for line in lines]
        for row in rows:
            row["chosen"] = [value * factor for value in row["chosen"]]
        (place / "length.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        outputs = runner.run(model="length", suite="mini", committed="results")
        assert outputs["changed"] == changed, runner.log
    assert Runner(tmp_path / "none").run(model="length", committed="results")["changed"] == "true"


def test_an_error_is_told_where_it_is_seen(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "run")
    runner.run(model="./nowhere", suite="mini")
    line = next(line for line in runner.log.splitlines() if line.startswith("::error"))
    assert line.startswith("::error title=rmbench::rmbench: ./nowhere: no such folder")
    assert "    rmbench: ./nowhere: no such folder" in runner.summary


def test_a_data_set_that_cannot_tell_is_not_a_model_that_is_worse(
    tmp_path: Path, length: Path
) -> None:
    runner = Runner(tmp_path / "run")
    outputs = runner.run(model="length", suite="mini", baseline=str(length), margin="1")
    assert runner.codes["Check against the baseline"] == 3, runner.log
    assert outputs["verdict"] == "unclear"


def test_files_of_private_models_reach_no_cache_and_two_gates_have_two_names(
    tmp_path: Path,
) -> None:
    for token, asked, kept in (
        ("", "auto", "true"),
        ("hf_x", "auto", "false"),
        ("hf_x", "true", "true"),
        ("", "false", "false"),
    ):
        runner = Runner(tmp_path / f"{token}{asked}", extra={"HF_TOKEN": token})
        runner.run(model="./nowhere", hub_cache=asked)
        assert runner.steps["prepare"]["hub"] == kept
    steps = {step["name"]: step for step in ACTION["runs"]["steps"]}
    for name in ("Restore Hub files", "Keep Hub files"):
        assert "steps.prepare.outputs.hub == 'true'" in steps[name]["if"]
    assert "github.action" in steps["Prepare"]["env"]["JOB"]
    for name in ("Restore rewards", "Keep rewards"):
        assert steps[name]["with"]["key"].endswith("-${{ steps.prepare.outputs.step }}")


def test_extras_are_installed(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "run")
    runner.run(model="./nowhere", extras="adapters,servers")
    assert f"{ROOT}[adapters,servers]" in (runner.folder / "log.pip").read_text().splitlines()


def test_a_suite_of_ones_own_is_checked_with_its_file(tmp_path: Path) -> None:
    runner = Runner(tmp_path / "run")
    (runner.work / "rows.jsonl").write_text(
        "".join(
            json.dumps({"prompt": f"Question {i}", "chosen": "a" * (i + 2), "rejected": "b"}) + "\n"
            for i in range(20)
        )
    )
    (runner.work / "own.toml").write_text(
        'name = "mine"\nversion = 1\n[source]\npath = "rows.jsonl"\n[columns]\nprompt = "prompt"\n'
        'chosen = "chosen"\nrejected = "rejected"\n[averages]\npooled = "comparisons"\n'
        'headline = "pooled"\n'
    )
    suites = "mini\nown.toml\n"
    first = runner.run(model="length", suite=suites)
    assert first["verdict"] == "none", runner.log
    shutil.copytree(f"{first['folder']}/results", runner.work / "results")
    second = runner.run(model="length", suite=suites, baseline="results")
    assert second["verdict"] == "passed", runner.log
    assert [Path(path).parent.name for path in second["result"].splitlines()] == ["mine", "mini"]
    checked = sorted(path.name for path in Path(second["folder"], "check").glob("*.md"))
    assert checked == ["mine.md", "mini.md"]


# --- what reaches rmbench and pip ----------------------------------------------------------------


def test_a_crash_of_the_check_is_an_error_and_not_a_failed_gate(
    tmp_path: Path, length: Path
) -> None:
    # Python exits with 1 after a traceback, as the gate does when a model got worse.
    extra = {"FAKE_RESULT": str(length), "FAKE_CHECK_CODE": "1"}
    runner = Runner(tmp_path / "run", rmbench=FAKE_RMBENCH, extra=extra)
    (runner.work / "results").mkdir()
    assert runner.run(model="m", suite="mini", baseline="results")["verdict"] == "error"
    assert runner.codes["Check against the baseline"] == 2


def test_every_input_reaches_rmbench_as_one_argument(tmp_path: Path, length: Path) -> None:
    runner = Runner(tmp_path / "run", rmbench=FAKE_RMBENCH, extra={"FAKE_RESULT": str(length)})
    (runner.work / "old results").mkdir()
    outputs = runner.run(
        model="my model",
        suite="  mini  \n\nother\n",
        data="mini=a folder/rows.jsonl",
        arguments="--system-prompt=Be kind.\n--limit=3",
        baseline="old results",
        margin="1",
        alpha="0.05",
        max_drop="2.5",
        reward_cache="false",
    )
    output = outputs["folder"]
    assert arguments_of(runner, "run") == [
        "run",
        "--system-prompt=Be kind.",
        "--limit=3",
        "--suite=mini",
        "--suite=other",
        "--data=mini=a folder/rows.jsonl",
        "--no-cache",
        "--model=my model",
        f"--output={output}/results",
        "--format=markdown",
    ]
    assert arguments_of(runner, "check") == [
        "check",
        f"{output}/results/mini/m.json",
        "--baseline=old results",
        "--alpha=0.05",
        "--max-drop=2.5",
        "--margin=1",
        f"--output={output}/check/mini.md",
        f"--output={output}/check/mini.xml",
        f"--output={output}/check/mini.json",
    ]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_inputs_execute_nothing(tmp_path: Path, length: Path, hostile: str) -> None:
    runner = Runner(tmp_path / "run", rmbench=FAKE_RMBENCH, extra={"FAKE_RESULT": str(length)})
    names = [name.replace("-", "_") for name in ACTION["inputs"]]
    given = dict.fromkeys(names, hostile) | {"hub_cache": "auto", "committed": ""}
    is_name = "\n" not in hostile  # a baseline of several lines is refused
    (runner.work / hostile.strip()).mkdir()
    outputs = runner.run(**given | ({} if is_name else {"baseline": ""}))
    assert not list(runner.folder.rglob("pwned"))
    assert f"--model={hostile}" in arguments_of(runner, "run")
    for name in ("baseline", "max-drop", "margin") if is_name else ():
        assert f"--{name}={hostile}" in arguments_of(runner, "check")
    pip = (runner.folder / "log.pip").read_text().rstrip("\n")
    assert f"--constraint={hostile}".rstrip("\n") in pip
    assert re.fullmatch(r"[A-Za-z0-9._-]+", outputs["artifact"])


@pytest.mark.parametrize("name", ["baseline", "committed", "hub_cache", "extras"])
@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_places_execute_nothing(
    tmp_path: Path, length: Path, name: str, hostile: str
) -> None:
    runner = Runner(tmp_path / "run", rmbench=FAKE_RMBENCH, extra={"FAKE_RESULT": str(length)})
    runner.run(**{"model": "m", "suite": "mini", name: hostile})
    assert not list(runner.folder.rglob("pwned"))
    told = [line for line in runner.log.splitlines() if line.startswith("::")]
    assert all(line.startswith("::error title=rmbench::") for line in told)


@pytest.mark.parametrize("hostile", HOSTILE[:2])
def test_hostile_inputs_execute_nothing_in_rmbench_either(tmp_path: Path, hostile: str) -> None:
    runner = Runner(tmp_path / "run")
    outputs = runner.run(model=hostile, suite="mini", arguments=hostile)
    assert outputs["verdict"] == "error"
    assert runner.codes["Score"] == 2
    assert not list(runner.folder.rglob("pwned"))


def test_an_output_cannot_be_forged_by_an_input(tmp_path: Path, length: Path) -> None:
    runner = Runner(tmp_path / "run", rmbench=FAKE_RMBENCH, extra={"FAKE_RESULT": str(length)})
    outputs = runner.run(model="x\nvenv=/elsewhere\nartifact=other")
    assert runner.steps["prepare"]["venv"].startswith(str(runner.folder / "temp"))
    assert outputs["artifact"].startswith("rmbench-x-venv-")


@pytest.mark.parametrize(
    ("given", "expected"),
    [("", f"--constraint={ROOT}/constraints.txt"), ("own.txt", "--constraint=own.txt")],
)
def test_pip_installs_the_action_itself_with_constraints(
    tmp_path: Path, length: Path, given: str, expected: str
) -> None:
    runner = Runner(tmp_path / "run", rmbench=FAKE_RMBENCH, extra={"FAKE_RESULT": str(length)})
    runner.run(model="m", constraints=given)
    pip = (runner.folder / "log.pip").read_text().splitlines()
    assert pip[:3] == ["-m", "pip", "install"]
    assert pip[-2:] == [expected, str(ROOT)]


def test_pip_can_take_the_newest_versions(tmp_path: Path, length: Path) -> None:
    runner = Runner(tmp_path / "run", rmbench=FAKE_RMBENCH, extra={"FAKE_RESULT": str(length)})
    runner.run(model="m", constraints="none")
    assert "constraint" not in (runner.folder / "log.pip").read_text()


# --- schemas and rules ---------------------------------------------------------------------------


def lint(schema: str, path: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    return subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)


def test_the_action_fits_the_schema_of_actions() -> None:
    done = lint("github-actions", ROOT / "action.yml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_workflow_fits_the_schema_of_workflows(tmp_path: Path, name: str) -> None:
    path = tmp_path / "workflow.yml"
    path.write_text(WORKFLOWS[name], encoding="utf-8")
    done = lint("github-workflows", path)
    assert done.returncode == 0, done.stdout


def test_the_gitlab_job_in_the_docs_fits_its_schema(tmp_path: Path) -> None:
    path = tmp_path / "gitlab.yml"
    path.write_text(YAML_BLOCKS[2], encoding="utf-8")
    done = lint("gitlab-ci", path)
    assert done.returncode == 0, done.stdout


def test_a_misspelt_key_does_not_fit_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "workflow.yml"
    path.write_text(CI.replace("runs-on:", "run-on:"), encoding="utf-8")
    assert lint("github-workflows", path).returncode == 1


def all_steps() -> list[dict[str, Any]]:
    jobs = [job for text in WORKFLOWS.values() for job in yaml.safe_load(text)["jobs"].values()]
    return ACTION["runs"]["steps"] + [step for job in jobs for step in job["steps"]]


def test_no_script_holds_an_expression() -> None:
    scripts = [step["run"] for step in all_steps() if "run" in step]
    assert len(scripts) >= 10
    assert not [script for script in scripts if "${{" in script]


def test_every_action_of_others_is_pinned_by_its_digest_and_is_githubs_or_the_indexs() -> None:
    used = {step["uses"] for step in all_steps() if "uses" in step}
    foreign = used - {"./", "OWNER/rmbench@v0.1.0"}
    assert foreign
    owners = r"(actions/[a-z-]+(/[a-z]+)?|pypa/gh-action-pypi-publish)"
    assert all(re.fullmatch(owners + "@[0-9a-f]{40}", name) for name in foreign)


def test_the_version_stands_beside_each_digest() -> None:
    text = "\n".join([*WORKFLOWS.values(), (ROOT / "action.yml").read_text(encoding="utf-8")])
    pins = re.findall(r"uses: \S+@[0-9a-f]{40}(.*)", text)
    assert len(pins) > 10
    assert all(re.fullmatch(r" # v\d+(\.\d+)*", said) for said in pins)


def test_each_of_githubs_actions_has_one_version() -> None:
    used = {step["uses"] for step in all_steps() if step.get("uses", "").startswith("actions/")}
    versions = {re.sub(r"(/restore|/save)?@", "@", name) for name in used}
    assert len(versions) == len({name.partition("@")[0] for name in versions})


def test_every_expression_names_an_input_or_step_that_exists() -> None:
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"inputs\.([a-z-]+)", text)) == set(ACTION["inputs"])
    known = {step["id"] for step in ACTION["runs"]["steps"] if "id" in step}
    assert set(re.findall(r"steps\.([a-z]+)\.", text)) <= known


def test_workflows_give_the_action_inputs_that_it_has_and_read_outputs_that_it_has() -> None:
    mine = [step for step in all_steps() if step.get("uses") in ("./", "OWNER/rmbench@v0.1.0")]
    assert len(mine) == 3
    for step in mine:
        assert set(step["with"]) <= set(ACTION["inputs"])
        assert "model" in step["with"]
    assert set(re.findall(r"steps\.rmbench\.outputs\.(\w+)", DOCS)) <= set(ACTION["outputs"])


def test_every_workflow_starts_with_the_right_to_read_alone_and_has_a_time_limit() -> None:
    for text in WORKFLOWS.values():
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {"contents": "read"}
        assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())


def test_no_cache_holds_a_token() -> None:
    cached = [
        step["with"]["path"].split()
        for step in ACTION["runs"]["steps"]
        if step.get("uses", "").startswith("actions/cache")
    ]
    # huggingface_hub keeps the token in ~/.cache/huggingface/token.
    assert {path for paths in cached for path in paths} == {
        "~/.cache/huggingface/hub",
        "~/.cache/huggingface/datasets",
        "~/.cache/rmbench",
    }


def test_the_docs_list_every_input_and_output_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", DOCS, re.MULTILINE))
    assert set(rows) == set(ACTION["inputs"]) | set(ACTION["outputs"])
    for name, item in ACTION["inputs"].items():
        if item.get("default"):
            assert rows[name] == f"`{item['default']}`"


# --- the docs' scripts ---------------------------------------------------------------------------


def test_the_commands_without_github_run_as_written(tmp_path: Path) -> None:
    # With `length` for `tiny`, which has to be loaded.
    script = "\n".join(SHELL_BLOCKS).replace("tiny", "length")
    runner = Runner(tmp_path / "run")
    subprocess.run(
        [*BASH, script],
        cwd=runner.work,
        env=runner._environment(),
        capture_output=True,
        check=True,
        timeout=300,
    )
    assert ElementTree.parse(runner.work / "build/check.xml").getroot().tag == "testsuites"
    assert (runner.work / "build/check.md").is_file()


@pytest.fixture
def clone(tmp_path: Path) -> Runner:
    """A clone of a repository with one committed result, and a stand-in for gh."""
    gh = '#!/bin/bash\nprintf "%s\\n" "$*" >> "$FAKE_LOG.gh"\nif [ "$2" = list ]; then echo 0; fi\n'
    runner = Runner(tmp_path / "run", extra={"GIT_CONFIG_GLOBAL": "/dev/null"})
    (runner.folder / "bin" / "gh").write_text(gh)
    (runner.folder / "bin" / "gh").chmod(0o755)
    committed = runner.work / "results" / "mini"
    committed.mkdir(parents=True)
    (committed / "m.json").write_text('{"date": "before"}\n')
    (committed / "m.jsonl").write_text("1\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (
        ["git", "init", "-q", "--bare", "-b", "main", "../origin.git"],
        ["git", "init", "-q", "-b", "main", "."],
        ["git", "remote", "add", "origin", "../origin.git"],
        ["git", "add", "-A"],
        [*git, "commit", "-q", "-m", "first"],
        ["git", "push", "-q", "origin", "main"],
    ):
        subprocess.run(command, cwd=runner.work, env=runner._environment(), check=True)
    return runner


def propose(clone: Runner, rewards: str) -> str:
    """Run the docs' script with a new result; return what gh was asked for."""
    (script,) = [s["run"] for s in all_steps() if s.get("name") == "Propose the new baseline"]
    new = clone.folder / "output" / "results" / "mini"
    new.mkdir(parents=True)
    (new / "m.json").write_text('{"date": "now"}\n')
    (new / "m.jsonl").write_text(rewards)
    subprocess.run(
        [*BASH, script],
        cwd=clone.work,
        env=clone._environment() | {"FOLDER": str(clone.folder / "output")},
        capture_output=True,
        check=True,
    )
    log = clone.folder / "log.gh"
    return log.read_text() if log.exists() else ""


def proposed(clone: Runner) -> str:
    command = ["git", "-C", str(clone.folder / "origin.git"), "show", "--name-only", "--format="]
    done = subprocess.run(
        [*command, "rmbench-baseline"], capture_output=True, text=True, check=False
    )
    return done.stdout


def test_new_rewards_on_main_are_proposed_by_pull_request(clone: Runner) -> None:
    asked = propose(clone, "2\n")
    assert "pr create --base main --head rmbench-baseline" in asked
    assert proposed(clone).split() == ["results/mini/m.json", "results/mini/m.jsonl"]


def test_the_same_rewards_on_main_propose_nothing(clone: Runner) -> None:
    assert propose(clone, "1\n") == ""
    assert proposed(clone) == ""
