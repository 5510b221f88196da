"""One finding about a model, as checks return it.

Cheap checks stand in the modules beside this one: of the configuration (``config_findings``), of
template and tokenizer (``text_findings``, ``tokenizer_findings``), of the loaded model
(``network_findings``). A scorer refuses on the first refused one; ``rmbench doctor`` prints all.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["OK", "REFUSED", "WARNING", "Check"]

OK: Final = "ok"
WARNING: Final = "warning"
REFUSED: Final = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding about a model.

    Attributes:
        name: what was looked at.
        status: ``ok``, ``warning`` or ``refused``.
        seen: what was found.
        remedy: what to do about it; empty when ok.
    """

    name: str
    status: str
    seen: str
    remedy: str = ""
