#!/usr/bin/env python3
"""Run every family's command on a tiny folder in its layout, and write the table of docs/models.md.

    python benchmarks/families.py            # about a minute; the differences are of this machine
    python benchmarks/families.py --only OpenRLHF

The folders and what their rewards are held against stand in tests/families.py. Exit code 1 where a
family is more than 1e-5 off.
"""

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from families import FAMILIES, MOST, Family, measure, row  # noqa: E402

PAGE: Final = ROOT / "docs" / "models.md"
START, END = "<!-- families -->", "<!-- /families -->"
HEAD: Final = (
    "| family | way | behind `rmbench run --model` | what must be stated | of RewardBench's 122"
    " | largest difference |\n|---|---|---|---|---|---|"
)


def try_all(families: Sequence[Family]) -> dict[str, float]:
    """Return the largest difference of each family of which a folder is built, by name."""
    found = {}
    for family in families:
        if family.build is not None:
            with tempfile.TemporaryDirectory() as folder:
                found[family.name] = measure(family, Path(folder))
            print(f"{found[family.name]:.1e}  {family.name}", flush=True)
    return found


def table(differences: dict[str, float]) -> str:
    """Return the table, and how many of RewardBench's models each way scores."""
    lines = [HEAD]
    for family in FAMILIES:
        moved = differences.get(family.name)
        lines.append(f"{row(family)} {'not built' if moved is None else f'{moved:.0e}'} |")
    counts = Counter({family.way: 0 for family in FAMILIES})
    for family in FAMILIES:
        counts[family.way] += family.listed
    told = ", ".join(f"{way} {count}" for way, count in counts.most_common() if count)
    lines += ["", f"RewardBench's 122 by way: {told}."]
    return "\n".join(lines)


def main() -> int:
    """Try the families that were asked for; write the page where that was all of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="NAME", help="families whose name begins so")
    only = parser.parse_args().only
    families = [family for family in FAMILIES if family.name.startswith(only or "")]
    differences = try_all(families)
    if only is None:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(START)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{START}\n{table(differences)}\n{END}{after}", encoding="utf-8")
    return int(any(not moved <= MOST for moved in differences.values()))


if __name__ == "__main__":
    sys.exit(main())
