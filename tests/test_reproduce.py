"""A result's command is read from its record, and makes the same numbers again, or not."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from scored import toy_margins, toy_result

from rmbench.answers.judgements import Judgement
from rmbench.cli import main
from rmbench.compare.reproduction import reproduced


def invoke(*args: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, list(args))
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A partial result of the rule that draws by a seed."""
    options = ["-o", "seed=7", "--suite", "mini", "--limit", "20", "--output", str(tmp_path)]
    code, _, err = invoke("run", "--model", "random", *options, "--no-cache")
    assert code == 0, err
    (path,) = tmp_path.rglob("*.json")
    return path


def test_a_result_is_made_again(record: Path) -> None:
    code, out, err = invoke("reproduce", str(record))
    assert code == 0, err
    command, verdict = out.splitlines()[:2]
    assert command == ("rmbench run --model random --suite mini -o seed=7 --limit 20 --no-cache")
    assert verdict == "every number came out again: 20 comparisons"


def test_the_command_alone(record: Path) -> None:
    code, out, _ = invoke("reproduce", str(record), "--print")
    assert (code, len(out.splitlines())) == (0, 1)


def test_a_number_that_does_not_come_out_is_said(record: Path) -> None:
    lines = record.with_suffix(".jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    first["chosen"] = [first["chosen"][0] + 0.25]
    record.with_suffix(".jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    code, out, _ = invoke("reproduce", str(record))
    assert code == 1
    assert "19 of 20 comparisons have the same answers, 0.25 apart at most" in out


@pytest.mark.parametrize(
    ("dtype", "moved", "is_same"),
    [
        ("float32", 2e-7, True),
        ("float32", 1e-2, False),
        ("bfloat16", 1e-2, True),
        ("bfloat16", 0.25, False),
        (None, 2e-7, True),
        (None, 1e-2, False),
    ],
)
def test_rewards_may_differ_by_the_rounding_of_their_precision(
    dtype: str | None, moved: float, is_same: bool
) -> None:
    pairs = [Judgement(id=f"a/{n}", chosen=(1.0,), rejected=(0.25,)) for n in range(3)]
    other = [Judgement(id=item.id, chosen=(1.0 + moved,), rejected=(0.25,)) for item in pairs]
    settings = {} if dtype is None else {"dtype": dtype}
    first, second = (
        toy_result(toy_margins(1)).model_copy(
            update={"rewards": tuple(rewards), "settings": settings}
        )
        for rewards in (pairs, other)
    )
    found = reproduced(first, second)
    assert not found.is_exact
    assert found.is_same is is_same


def test_other_options_are_other_numbers(record: Path) -> None:
    code, out, _ = invoke("reproduce", str(record), "-o", "seed=8")
    assert code == 1
    assert "0 of 20 comparisons have the same answers" in out


def test_a_folder_is_not_in_the_record(record: Path) -> None:
    content = json.loads(record.read_text())
    content["model"] |= {"id": "my-rm", "kind": "classifier", "revision": "sha256:00"}
    record.write_text(json.dumps(content))
    code, _, err = invoke("reproduce", str(record))
    assert code == 2
    assert "my-rm: the record does not say where the model is; give it as --model" in err


def test_published_numbers_have_no_command() -> None:
    from rmbench.compare.reproduction import command_of
    from rmbench.errors import ResultError
    from rmbench.result.store import read_published

    with pytest.raises(ResultError, match="published numbers have no command"):
        command_of(read_published()[0], given={})


def test_a_scorer_of_ones_own_is_made_again_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def words(conversation):\n    return len(conversation.response.split())\n")
    model = f"file:{file}:words"
    options = ["--suite", "mini", "--limit", "12", "--no-cache", "--output", str(tmp_path / "out")]
    assert invoke("run", "--model", model, *options)[0] == 0
    (path,) = (tmp_path / "out").rglob("*.json")
    code, out, err = invoke("reproduce", str(path), "--model", model)
    assert code == 0, err
    assert out.splitlines()[1] == "every number came out again: 12 comparisons"
    code, _, err = invoke("reproduce", str(path))
    assert code == 2
    assert "give it as --model file:FILE.py:NAME" in err


def test_rows_that_no_suite_describes_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [{"prompt": f"p{i}", "chosen": f"yes {i}", "rejected": "no" * i} for i in range(1, 9)]
    Path("pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, _, err = invoke("run", "pairs.jsonl", "--model", "length", "--output", "out")
    assert code == 0, err
    code, out, err = invoke("reproduce", "out/pairs/length.json")
    assert code == 0, err
    assert out.splitlines() == [
        "rmbench run --model length pairs.jsonl --no-cache",
        "every number came out again: 8 comparisons",
    ]
    Path("pairs.jsonl").unlink()
    assert invoke("reproduce", "out/pairs/length.json")[0] == 2
