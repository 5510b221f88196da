"""How reward servers are asked, and what they answer: vLLM, SGLang, TEI and OpenRLHF.

Requests and answers are those of vLLM 0.32 (``/classify``), SGLang 0.5 (its own ``/classify``, not
``/v1/classify``, which answers 1 for every input), text-embeddings-inference (``/predict``) and
OpenRLHF 0.11 (``/get_reward``). Infinity's ``/classify`` cannot give raw rewards, and is refused.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from rmbench.errors import ScorerError

__all__ = ["PROTOCOLS", "Given", "Input", "ServerProtocol", "recognise_server"]


class Input(NamedTuple):
    """One conversation: as token ids, and as the text that they stand for."""

    ids: list[int]
    text: str


class Given(NamedTuple):
    """Answers to one request.

    Attributes:
        rewards: one for each input, in their order.
        tokens: what the server says that it read, of all inputs together; None where it is silent.
    """

    rewards: list[float]
    tokens: int | None


class ServerProtocol:
    """How one kind of server is asked.

    Attributes:
        name: of the server.
        path: of its endpoint.
        takes_ids: whether it is sent token ids, so that it cannot change the text.
        has_switch: whether it can be asked for activated rewards too.
        limit: tokens beyond which it cuts off without a word; None where it says so.
    """

    name: str
    path: str
    takes_ids: bool
    has_switch: bool
    limit: int | None = None

    def body(self, inputs: Sequence[Input], model: str, *, is_raw: bool) -> dict[str, Any]:
        """Return the request for some inputs."""
        raise NotImplementedError

    def read(self, content: Any) -> Given:
        """Return what an answer holds, in the order of the inputs.

        Raises:
            ScorerError: it has another form, or more than one output for an input.
            LookupError, TypeError, ValueError: likewise.
        """
        raise NotImplementedError


class VLLM(ServerProtocol):
    """Token ids in, raw logits out."""

    name = "vllm"
    path = "/classify"
    takes_ids = True
    has_switch = True

    def body(self, inputs: Sequence[Input], model: str, *, is_raw: bool) -> dict[str, Any]:
        """Return the request for some inputs."""
        return {
            "model": model,
            "input": [item.ids for item in inputs],
            "use_activation": not is_raw,
            "add_special_tokens": False,
        }

    def read(self, content: Any) -> Given:
        """Return what an answer holds, in the order of the inputs."""
        rows = content["data"]
        if rows and isinstance(rows[0], list):
            raise ScorerError(
                "answers as Infinity does, whose rewards are always activated; serve the model with"
                " vLLM, SGLang or TEI"
            )
        rows = sorted(rows, key=lambda row: int(row["index"]))
        if [row["index"] for row in rows] != list(range(len(rows))):
            raise ScorerError("gives answers twice or not at all; start it again")
        rewards = [_one(row["probs"]) for row in rows]
        return Given(rewards, int(content["usage"]["prompt_tokens"]))


class SGLang(ServerProtocol):
    """Token ids in, the head's raw output out."""

    name = "sglang"
    path = "/classify"
    takes_ids = True
    has_switch = False

    def body(self, inputs: Sequence[Input], model: str, *, is_raw: bool) -> dict[str, Any]:
        """Return the request for some inputs."""
        return {"input_ids": [item.ids for item in inputs]}

    def read(self, content: Any) -> Given:
        """Return what an answer holds, in the order of the inputs."""
        rows = content if isinstance(content, list) else [content]
        tokens = sum(int(row["meta_info"]["prompt_tokens"]) for row in rows)
        return Given([_one(row["embedding"]) for row in rows], tokens)


class TEI(ServerProtocol):
    """Texts in, one by one wrapped, so that two of them are not taken for a pair."""

    name = "tei"
    path = "/predict"
    takes_ids = False
    has_switch = True

    def body(self, inputs: Sequence[Input], model: str, *, is_raw: bool) -> dict[str, Any]:
        """Return the request for some inputs."""
        return {
            "inputs": [[item.text] for item in inputs],
            "truncate": False,
            "raw_scores": is_raw,
        }

    def read(self, content: Any) -> Given:
        """Return what an answer holds, in the order of the inputs."""
        return Given([_one([label["score"] for label in row]) for row in content], None)


class OpenRLHF(ServerProtocol):
    """Texts in, the value head's output out; cuts off long texts without a word."""

    name = "openrlhf"
    path = "/get_reward"
    takes_ids = False
    has_switch = False
    limit = 2048

    def body(self, inputs: Sequence[Input], model: str, *, is_raw: bool) -> dict[str, Any]:
        """Return the request for some inputs."""
        texts = [item.text for item in inputs]
        blank = [""] * len(texts)
        return {"query": texts, "prompts": blank, "labels": blank}

    def read(self, content: Any) -> Given:
        """Return what an answer holds, in the order of the inputs."""
        rewards = content["rewards"]
        return Given([_one(r if isinstance(r, list) else [r]) for r in rewards], None)


def _one(outputs: Any) -> float:
    if len(outputs) != 1:
        raise ScorerError(
            f"gives {len(outputs)} numbers for an input where a reward model has one; serve it as a"
            " classifier with one label"
        )
    if type(outputs[0]) not in (int, float) or not math.isfinite(outputs[0]):
        raise ScorerError(f"gives {outputs[0]} as a reward; every reward must be a number")
    return float(outputs[0])


PROTOCOLS: Final[Mapping[str, ServerProtocol]] = {
    "vllm": VLLM(),
    "sglang": SGLang(),
    "tei": TEI(),
    "openrlhf": OpenRLHF(),
}


class RecognisedServer(NamedTuple):
    """A server: its kind and version, and the model that it serves; None for what it hides."""

    protocol: Literal["vllm", "sglang", "tei", "openrlhf"]
    version: str | None
    model: str | None
    max_length: int | None


def recognise_server(get: Any) -> RecognisedServer | None:
    """Return what kind of server it is, from what its own paths say; None for no known one.

    Args:
        get: returns the JSON of a path, None where there is none.
    """
    info = get("/info")
    if isinstance(info, dict) and "model_type" in info and "max_input_length" in info:
        length = info["max_input_length"]
        return RecognisedServer(
            "tei", _text(info.get("version")), _text(info.get("model_id")), length
        )
    info = get("/get_model_info") or get("/model_info")
    if isinstance(info, dict) and "model_path" in info:
        server = get("/get_server_info") or get("/server_info") or {}
        version = server.get("version") if isinstance(server, dict) else None
        return RecognisedServer("sglang", _text(version), _text(info["model_path"]), None)
    version = get("/version")
    models = get("/v1/models")
    if isinstance(version, dict) and isinstance(models, dict) and models.get("data"):
        first = models["data"][0]
        length = first.get("max_model_len")
        return RecognisedServer(
            "vllm", _text(version.get("version")), _text(first.get("id")), length
        )
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
