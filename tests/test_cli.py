"""The command line as its user sees it: what is printed where, and the exit code."""

import json
import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rmbench.checkpoint.identity import locate, name_models
from rmbench.cli import main
from rmbench.errors import ResultError
from rmbench.result import store
from rmbench.result.store import read_result
from rmbench.suite.catalogue import bundled_folder

VERSION = metadata.version("rmbench")
ROWS = bundled_folder("suites") / "mini.jsonl"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in an empty folder, with no network and a cache of its own."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def rmbench(*arguments: str) -> Result:
    """Return what a command did; a bug shows its traceback."""
    return CliRunner().invoke(main, arguments, prog_name="rmbench", catch_exceptions=False)


def refused(*arguments: str) -> str:
    """Return the one line on standard error of a command that ends with exit code 2."""
    result = rmbench(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    line, end, rest = result.stderr.partition("\n")
    assert (end, rest) == ("\n", "")
    assert line.startswith("rmbench: ")
    return line.removeprefix("rmbench: ")


def files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*") if path.is_file())


# --- run -----------------------------------------------------------------------------------------

# In each subset of mini the chosen response is the longer one in half of the comparisons.
LENGTH_ON_MINI = f"""\
mini (not for ranking models): length

             accuracy %    95 % interval    n    won    tied
---------  ------------  ---------------  ---  -----  ------
Chat              50.00     37.7 to 62.3   60     30       0
Chat Hard         50.00     37.7 to 62.3   60     30       0
Safety            50.00     37.7 to 62.3   60     30       0
Reasoning         50.00     37.7 to 62.3   60     30       0
pooled            50.00     43.7 to 56.3  240    120       0
sections          50.00     43.7 to 56.3  240    120       0

pooled: every comparison counts the same
sections: mean of Chat, Chat Hard, Safety, Reasoning
mini:1-1fb88db|length|rmbench:{VERSION}

"""


def test_a_run_prints_its_table_and_writes_its_record() -> None:
    result = rmbench("run", "--model", "length")
    assert result.exit_code == 0
    assert result.stdout == LENGTH_ON_MINI
    assert result.stderr == "written: results/mini/length.json\n"
    assert files() == ["results/mini/length.json", "results/mini/length.jsonl"]
    headline = read_result(Path("results/mini/length.json")).headline
    assert headline is not None
    assert headline.accuracy == 0.5


def test_subsets_are_printed_on_request() -> None:
    lines = rmbench("run", "--model", "length", "--subsets").stdout.splitlines()
    assert [line.split()[0] for line in lines[4:10]] == [
        "plain-help",
        "looks-followed",
        "should-refuse",
        "should-respond",
        "code",
        "math",
    ]


def test_a_limit_is_marked_as_partial_everywhere() -> None:
    result = rmbench("run", "--model", "length", "--limit", "2")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].endswith(": length (partial: 2 comparisons)")
    assert f"mini:1-1fb88db|length|partial:2|rmbench:{VERSION}" in result.stdout
    assert files()[0] == "results/mini/length.partial-2.json"
    # The 1st and the 121st of 240: plain-help and should-refuse. Safety lacks should-respond.
    assert [line.split()[0] for line in result.stdout.splitlines()[4:6]] == ["Chat", "pooled"]


@pytest.mark.parametrize("fmt", ["json", "csv", "markdown"])
def test_a_run_prints_other_formats(fmt: str) -> None:
    text = rmbench("run", "--model", "length", "--format", fmt).stdout
    if fmt == "json":
        (record,) = json.loads(text)
        assert record == json.loads(Path("results/mini/length.json").read_text())
    elif fmt == "csv":
        assert text.splitlines()[1].startswith("mini,length,measured,average,pooled,0.5,")
        # head, averages, sections, subsets, and by length: no two responses of mini are as long
        assert len(text.splitlines()) == 1 + 2 + 4 + 6 + 2
    else:
        assert "| Chat Hard |        50.00 |    37.7 to 62.3 |  60 |    30 |      0 |" in text


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_the_rows_of_a_suite_are_read_from_where_data_says(name: str) -> None:
    rows = [json.loads(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    lines = [json.dumps(row) for row in rows]
    text = "\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]"
    Path(name).write_text(text, encoding="utf-8")
    result = rmbench("run", "--model", "length", "--data", f"mini={name}")
    assert result.exit_code == 0
    assert f"mini: the rows are those of {name}; " in result.stdout
    record = read_result(Path("results/mini/length.json"))
    assert record.suite["origin"] == name


def test_a_suite_of_ones_own_runs_by_its_path() -> None:
    Path("rows.jsonl").write_text('{"chosen": "longer", "rejected": "short", "prompt": "p"}\n')
    Path("own.toml").write_text(
        'name = "own"\n[source]\npath = "rows.jsonl"\n'
        '[columns]\nprompt = "prompt"\nchosen = "chosen"\nrejected = "rejected"\n'
    )
    result = rmbench("run", "--model", "length", "--suite", "own.toml")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "own: length"
    assert result.stdout.splitlines()[4].split() == [
        "pooled",
        "100.00",
        "20.7",
        "to",
        "100.0",
        *"110",
    ]


def test_one_model_that_fails_does_not_stop_the_others() -> None:
    Path("empty").mkdir()
    models = ("--model", "length", "--model", "empty", "--model", "shorter")
    result = rmbench("run", "--suite", "mini", *models)
    assert result.exit_code == 2
    assert [line for line in result.stdout.splitlines() if line.startswith("mini (")] == [
        "mini (not for ranking models): length",
        "mini (not for ranking models): shorter",
        "mini (not for ranking models): sections",  # of the two, side by side
    ]
    errors = [line for line in result.stderr.splitlines() if not line.startswith("written: ")]
    assert len(errors) == 1
    assert errors[0].startswith("rmbench: empty: ")
    assert "results/mini/shorter.json" in files()


# --- run: what is refused before anything is scored ----------------------------------------------


def test_a_wrong_model_is_one_line() -> None:
    assert refused("run", "--model", "nosuch") == (
        "nosuch: no such folder and no built-in; give org/name of the Hub, a folder, KIND:NAME,"
        " or tiny, length, shorter, random"
    )
    assert files() == []


def test_a_wrong_model_among_several_is_refused_before_any_is_run() -> None:
    assert refused("run", "--model", "length", "--model", "nosuch").startswith("nosuch: no such")
    assert files() == []


def test_a_wrong_suite_is_one_line() -> None:
    message = refused("run", "--model", "length", "--suite", "minni")
    assert message.startswith('suite "minni": no such suite; ')
    assert 'did you mean "mini"?' in message
    assert refused("run", "--suite", "no.toml") == (
        "no.toml: no such file; `rmbench suites list` names the bundled ones"
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("rows.jsonl", "--data rows.jsonl: write it as SUITE=PATH"),
        ("mini=", "--data mini=: write it as SUITE=PATH"),
        (
            "minni=x.jsonl",
            '--data minni=x.jsonl: suite "minni" is not in this run; did you mean "mini"?',
        ),
        ("mini=x.jsonl", "x.jsonl: no such file or folder; give a data file, or a folder of them"),
    ],
)
def test_wrong_data_is_one_line(data: str, message: str) -> None:
    assert refused("run", "--model", "length", "--data", data) == message
    assert files() == []


def test_a_folder_without_data_is_one_line() -> None:
    Path("void").mkdir()
    message = refused("run", "--model", "length", "--data", "mini=void")
    assert message.startswith("void: no data file in this folder")


def test_rows_of_another_suite_are_one_line() -> None:
    Path("rows.jsonl").write_text('{"question": "p", "answer": "a"}\n')
    message = refused("run", "--model", "length", "--data", "mini=rows.jsonl")
    assert message.startswith("rows.jsonl, row 1: ")


@pytest.mark.parametrize("name", ["out", "out/mini"])
def test_an_output_that_is_a_file_is_refused_before_scoring(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text("mine")
    monkeypatch.setattr("rmbench.run.evaluate_feed", None)  # calling it would be a traceback
    message = refused("run", "--model", "length", "--output", "out")
    assert message.startswith("out/mini: cannot be written to: ")
    assert message.endswith("; give another folder with --output")
    assert files() == [name]


def test_folders_of_one_name_are_told_apart() -> None:
    for folder in ("runA/checkpoint-500", "runC/checkpoint-500", "x/my-rm", "y/my-rm", "z/own"):
        Path(folder).mkdir(parents=True)
    cached = "hub/models--org--rm/snapshots/1a2b"
    Path(cached).mkdir(parents=True)
    assert locate("runA/checkpoint-500")[1] == "runA/checkpoint-500"
    assert name_models(["x/my-rm", "y/my-rm", "z/own", "length", cached]) == {
        "x/my-rm": "x/my-rm",
        "y/my-rm": "y/my-rm",
        "z/own": "own",
        "length": "length",
        cached: "org/rm",
    }


def test_a_name_can_be_given_to_one_model() -> None:
    told = rmbench("run", "--model", "length", "--name", "run7/step 500", "--output", "out")
    record = json.loads(Path(told.stderr.split()[1]).read_text())
    assert record["model"]["id"] == "run7/step 500"
    assert record["signature"].split("|")[1] == "run7/step 500"
    message = refused("run", "--model", "length", "--model", "random", "--name", "x")
    assert message.startswith("--name NAME is the name of one --model")


def test_a_character_that_the_terminal_lacks_loses_no_result(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rmbench", "run", "--model", "length", "--name", "模型"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path)],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert rb"\u6a21\u578b" in done.stdout
    assert len(list(tmp_path.glob("mini/*.json"))) == 1


def test_a_result_that_cannot_be_written_is_kept_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.write_result

    def full(result: Any, folder: Path) -> Path:
        if folder == Path("out"):
            raise ResultError("out: cannot be written: No space left on device; make room")
        return real(result, folder)

    monkeypatch.setattr(store, "write_result", full)
    message = refused("run", "--model", "length", "--output", "out")
    finding, _, kept = message.partition("; the result is kept as ")
    assert "No space left" in finding
    assert json.loads(Path(kept).read_text())["model"]["id"] == "length"


@pytest.mark.parametrize("fmt", ["table", "markdown", "csv", "json"])
def test_no_line_is_a_command_for_a_ci_runner(fmt: str) -> None:
    names = ["::stop-commands::x", " ::add-mask::y", "a ##[error]z", "##vso[task.x]y"]
    rows = (
        {"id": str(i), "subset": name, "prompt": "p", "chosen": "long", "rejected": "no"}
        for i, name in enumerate(names)
    )
    Path("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("own.toml").write_text(OWN + "[sections]\n" + "".join(f'"{n}" = ["{n}"]\n' for n in names))
    run = ("run", "--model", "length", "--suite", "own.toml", "--subsets")
    for command in (run, ("leaderboard", "results", "--suite", "own.toml")):
        shown = rmbench(*command, "--format", fmt)
        for line in (shown.stdout + shown.stderr).splitlines():
            assert not line.strip().startswith("::")
            assert "##[" not in line
            assert "##vso[" not in line


def test_a_model_that_is_named_twice_is_scored_once() -> None:
    result = rmbench("run", "--model", "length", "--model", "length", "--output", "out")
    assert result.stderr == "written: out/mini/length.json\n"


OWN = """
name = "own"
version = 1
[source]
path = "own.jsonl"
[columns]
id = ["id"]
subset = "subset"
prompt = "prompt"
chosen = "chosen"
rejected = "rejected"
"""


def test_results_of_other_settings_have_files_of_their_own() -> None:
    for seed in ("0", "1", "2"):
        assert rmbench("run", "--model", "random", "--seed", seed, "--output", "out").stderr
    names = sorted(path.name for path in Path("out/mini").glob("*.json"))
    assert names == ["random+seed-1.json", "random+seed-2.json", "random.json"]


def test_other_texts_under_one_name_and_version_are_another_result(tmp_path: Path) -> None:
    suite = Path("own.toml")
    suite.write_text(OWN, encoding="utf-8")
    told = []
    for text in ("long", "longer still"):
        row = {"id": "1", "subset": "a", "prompt": "p", "chosen": text, "rejected": "no"}
        Path("own.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
        command = ["run", "--model", "length", "--suite", str(suite), "--output", "out"]
        told.append(rmbench(*command).stderr)
    assert "kept the earlier result as out/own/length+" in told[1]
    records = [json.loads(path.read_text()) for path in Path("out/own").glob("*.json")]
    assert len({record["signature"] for record in records}) == len(records) == 2


def test_a_name_cannot_steer_the_terminal() -> None:
    message = refused("run", "--model", "\x1b[31mred\nsecond")
    assert message.startswith(r"\x1b[31mred\nsecond: no such folder")


@pytest.mark.parametrize(
    ("arguments", "finding"),
    [
        (("run", "--limit", "0"), "Invalid value for '--limit': 0 is not in the range"),
        (("run", "--dtype", "int1"), "Invalid value for '--dtype': 'int1' is not one of"),
        (("run", "--modle", "tiny"), "No such option '--modle'. (Did you mean one of: '--model'"),
        (("doctor", "a", "b"), "unexpected extra argument (b)"),
        (("compare", "mini/tiny"), "Missing argument 'B'. See `rmbench compare --help`"),
        (("nosuch",), "No such command 'nosuch'. See `rmbench --help`"),
        (("--nosuch",), "No such option '--nosuch'. See `rmbench --help`"),
        (("run", "--plan", "--check", "results"), "--plan scores nothing"),
        (("run", "--cache", "c", "--no-cache"), "--cache and --no-cache contradict each other"),
        (("compare", "a", "b", "--format", "csv", "--flips", "3"), "--flips has no place in CSV"),
        (("cache", "nosuch"), "No such command 'nosuch'. See `rmbench cache --help`"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], finding: str
) -> None:
    message = refused(*arguments)
    assert finding in message
    assert message.endswith("--help`")
    assert files() == []


@pytest.mark.parametrize("arguments", [(), ("cache",)])
def test_a_command_without_its_part_shows_help(arguments: tuple[str, ...]) -> None:
    result = rmbench(*arguments)
    assert result.exit_code == 2
    assert "Commands:\n" in result.output


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("rmbench.run.evaluate_feed", break_down)
    result = rmbench("run", "--model", "length")
    assert result.exit_code == 70  # EX_SOFTWARE of sysexits.h; 1 would be a failed gate
    assert "Traceback (most recent call last):" in result.stderr
    assert "ZeroDivisionError" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("rmbench: this is a bug of rmbench, ")


@pytest.mark.parametrize(
    "arguments",
    [("run", "--model", "x" * 5000), ("compare", "x" * 5000, "b"), ("report", "x" * 999)],
)
def test_a_name_too_long_for_the_system_is_one_line(arguments: tuple[str, ...]) -> None:
    message = refused(*arguments)
    assert "File name too long" in message
    assert len(message) < 300


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_line_and_no_bug() -> None:
    program = "from rmbench.cli import main; main(['suites', 'show', 'mini'])"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 2
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_an_interrupt_is_one_line_and_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rmbench.run.evaluate_feed", interrupt)
    result = rmbench("run", "--model", "length")
    assert result.exit_code == 130  # 128 + SIGINT, as shells have it
    assert result.stderr == "\nrmbench: stopped\n"


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_stops_a_real_process_with_130() -> None:
    program = (
        "import os, signal, time, rmbench.run as run\n"
        # A job in the background of a script begins with the signal ignored, and so do its tests.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def interrupt(*_, **__): os.kill(os.getpid(), signal.SIGINT); time.sleep(60)\n"
        "run.evaluate_feed = interrupt\n"
        "from rmbench.cli import main\n"
        "main(['run', '--model', 'length'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == 130
    assert done.stderr.decode().strip() == "rmbench: stopped"


@pytest.mark.skipif(os.name == "nt", reason="needs pipes as POSIX has them")
def test_a_reader_that_goes_away_is_no_failed_gate() -> None:
    program = "from rmbench.cli import main; main(['suites', 'list'])"
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")  # 128 + SIGPIPE


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--dtype", "float32", "--template", "none"), "--dtype, --template: without effect on"),
        (("--limit", "2"), None),
    ],
)
def test_options_that_a_rule_cannot_use_are_told(
    arguments: tuple[str, ...], told: str | None
) -> None:
    result = rmbench("run", "--model", "length", *arguments)
    assert result.exit_code == 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("rmbench: ")]
    assert lines == ([f"rmbench: {told} length (rule)"] if told else [])


def test_an_option_is_given_by_its_flag_or_by_name_and_once() -> None:
    for option in (("--seed", "3"), ("-o", "seed=3")):
        result = rmbench("run", "--model", "random", *option, "--format", "json")
        assert json.loads(result.stdout)[0]["settings"] == {"seed": 3}
    for options, told in (
        (("-o", "seed=3", "--seed", "3"), "seed is given twice"),
        (("-o", "seed"), "write it as NAME=VALUE"),
        (("-o", "sead=3"), 'no such option; did you mean "seed"?'),
        (("-o", "seed=three"), "seed = three: it must be a whole number"),
    ):
        result = rmbench("run", "--model", "random", *options)
        assert (result.exit_code, result.stdout) == (2, "")
        assert told in result.stderr


# --- leaderboard ---------------------------------------------------------------------------------


def test_the_leaderboard_lists_the_best_first() -> None:
    for arguments in (["--model", "shorter"], ["--model", "length", "--model", "random"]):
        assert rmbench("run", *arguments).exit_code == 0
    records = [read_result(path) for path in Path("results/mini").glob("*.json")]
    best = max(item.headline.accuracy for item in records if item.headline)
    result = rmbench("leaderboard", "--suite", "mini", "--format", "markdown")
    assert result.exit_code == 0
    cells = [line.split("|") for line in result.stdout.splitlines() if line.startswith("|")]
    models = [row for row in cells if any(name in str(row) for name in ("length", "random"))]
    assert len(models) == 2
    first = next(row for row in cells[2:])
    assert f"{100 * best:.2f}" in str(first)


def test_the_leaderboard_without_results_shows_what_was_published() -> None:
    result = rmbench("leaderboard")
    assert result.exit_code == 0
    assert "SultanR/SmolTulu-1.7b-RM" in result.stdout
    assert "allenai/Llama-3.1-Tulu-3-8B-RM" in result.stdout


def test_a_partial_run_is_no_entry_of_the_leaderboard() -> None:
    rmbench("run", "--model", "length", "--limit", "20", "--output", "out")
    assert refused("leaderboard", "out")


def test_a_path_without_results_is_one_line() -> None:
    assert refused("leaderboard", "nowhere") == (
        "nowhere: no such file; give a result's .json, a folder, or suite/model"
    )


# --- suites --------------------------------------------------------------------------------------


def test_suites_are_listed() -> None:
    result = rmbench("suites", "list")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == ["Suites", ""]
    assert lines[2].split() == ["name", "title", "source", "headline", "scorers", "that", "give"]
    names = [line.split()[0] for line in lines[4:]]
    assert names == sorted(names)
    assert {"hh-rlhf", "mini", "rewardbench", "ultrafeedback"} <= set(names)
    (row,) = (line.split() for line in lines if line.startswith("rewardbench "))
    assert row[:4] == ["rewardbench", "RewardBench", "allenai/reward-bench", "sections"]


def test_a_suite_is_shown_as_its_file_stands() -> None:
    file = bundled_folder("suites") / "rewardbench.toml"
    result = rmbench("suites", "show", "rewardbench")
    assert (result.exit_code, result.stdout) == (0, file.read_text(encoding="utf-8"))
    assert refused("suites", "show", "nosuch").startswith('suite "nosuch": no such suite; ')


def test_a_suite_is_checked() -> None:
    file = str(bundled_folder("suites") / "mini.toml")
    result = rmbench("suites", "check", file)
    assert (result.exit_code, result.stdout) == (
        0,
        f"{file}: a suite called mini, version 1\n"
        "rows not read; add --rows or --data PATH to check them\n",
    )
    lines = rmbench("suites", "check", file, "--rows").stdout.splitlines()
    assert lines[1].startswith("valid: 240 comparisons, 6 subsets; these lines in [source]")
    pinned = tomllib.loads("\n".join(lines[3:]))
    assert pinned["comparisons"] == 240
    assert len(pinned["sha256"]) == 64


def test_a_wrong_suite_file_is_one_line() -> None:
    Path("own.toml").write_text('name = "own"\nnmae = 1\n')
    assert refused("suites", "check", "own.toml").startswith("own.toml: ")


def test_a_partial_run_says_what_it_left_out_and_counts_its_own_part() -> None:
    result = rmbench("run", "--model", "length", "--limit", "4", "--output", "out")
    assert result.exit_code == 0
    assert "left out, since subsets have no rows: " in result.stdout
    (record,) = Path("out/mini").glob("*.json")
    assert json.loads(record.read_text())["partial"] == 4


def test_limits_of_a_gate_need_a_gate() -> None:
    for option in (("--alpha", "0.5"), ("--max-drop", "3"), ("--margin", "1")):
        result = rmbench("run", "--model", "length", *option)
        assert result.exit_code == 2
        assert "are limits of --check BASELINE; add it" in result.stderr


def test_a_baseline_that_is_not_there_is_refused_before_anything_is_scored() -> None:
    result = rmbench("run", "--model", "length", "--check", "nothere.json", "--output", "out")
    assert result.exit_code == 2
    assert "nothere.json" in result.stderr
    assert "written" not in result.stderr
    assert not Path("out/mini/length.json").exists()


# --- the same for every command ------------------------------------------------------------------


def test_what_the_cache_holds_is_printed_in_every_format(tmp_path: Path) -> None:
    command = ("cache", "info", "--cache", str(tmp_path / "none"))
    assert rmbench(*command).exit_code == 0
    (row,) = json.loads(rmbench(*command, "--format", "json").stdout)["rows"]
    assert (row["answers"], row["replies"], row["runs"]) == (0, 0, 0)
    assert rmbench(*command, "--format", "csv").stdout.splitlines()[1] == "kept,0,0,0,0.0"


def test_the_options_of_run_stand_in_groups() -> None:
    lines = rmbench("run", "--help").stdout.splitlines()
    heads = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert heads == ["Model:", "Text:", "Data:", "Gate:", "Output:"]
    first = [lines[lines.index(head) + 1].split()[0] for head in heads]
    assert first == ["--model", "--template", "--suite", "--check", "--output"]


def test_a_part_of_a_run_is_meant_only_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert rmbench("run", "--model", "length", "--limit", "10").exit_code == 0
    assert "only a part of the suite was scored" in refused("report", "mini/length")
    assert rmbench("report", "mini/length.partial-10").exit_code == 0
    assert rmbench("run", "--model", "length").exit_code == 0
    assert rmbench("report", "mini/length").exit_code == 0


# --- the program ---------------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    result = rmbench("--help")
    assert result.exit_code == 0
    for name, command in main.commands.items():
        assert f"  {name} " in result.stdout
        assert command.help
        assert rmbench(name, "-h").exit_code == 0


def test_the_version_is_the_packages() -> None:
    assert rmbench("--version").stdout == f"rmbench, version {VERSION}\n"


def test_every_option_has_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMBENCH_RUN_MODEL", "length")
    monkeypatch.setenv("RMBENCH_RUN_NAME", "by variable")
    assert "mini (not for ranking models): by variable" in rmbench("run").stdout
    monkeypatch.setenv("RMBENCH_SUITES_LIST_FORMAT", "json")
    assert json.loads(rmbench("suites", "list").stdout)["title"] == "Suites"


def test_progress_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["rmbench.cli.progress"], "SOON_S", 0.0)
    command = ["run", "--model", "tiny", "--limit", "4", "--output", "out", "--no-cache"]
    assert "answers" in rmbench(*command).stderr
    assert rmbench(*command, "--no-progress").stderr.startswith("written: ")


def test_no_command_writes_over_what_is_not_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = tmp_path / "pairs.jsonl"
    rows.write_text('{"prompt": "p", "chosen": "long", "rejected": "r"}\n')
    (tmp_path / "there.toml").write_text("kept")
    assert "there.toml: there is such a file" in refused(
        "suites", "new", "pairs.jsonl", "--output", "there.toml"
    )
    assert "ends in .toml" in refused("suites", "new", "pairs.jsonl", "--output", "pairs.jsonl")
    assert "give p.toml" in refused("suites", "new", "pairs.jsonl", "--output", "other/p.toml")
    assert rmbench("run", "--model", "length", "pairs.jsonl").exit_code == 0
    assert ".html" in refused("report", "pairs/length", "-o", "pairs.jsonl")
    assert "holds results" in refused("site", "results", "-o", "results")
    assert (tmp_path / "there.toml").read_text() == "kept"
    assert rows.read_text().startswith('{"prompt"')
