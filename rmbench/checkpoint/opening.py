"""A model's folder or repository: opened, checked, and its weights loaded, or refused."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final, NamedTuple

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
)

from rmbench.checkpoint.encode import Template, load_template, with_format
from rmbench.checkpoint.findings import REFUSED, Check, check_network, check_settings, wants_eager
from rmbench.checkpoint.hub import fetch_texts, fetch_weights, find_commit
from rmbench.checkpoint.identity import locate
from rmbench.checkpoint.options import ModelOptions
from rmbench.checkpoint.text_findings import check_text
from rmbench.errors import ScorerError

__all__ = [
    "Checkpoint",
    "Loaded",
    "choose_device",
    "choose_dtype",
    "load_weights",
    "open_checkpoint",
    "refuse",
]

# What from_pretrained raises for a folder, repository or file that is not what it should be; the
# last two come from files that hold something else than expected, and from a repository's own code.
_UNLOADABLE = (
    OSError,
    ValueError,
    KeyError,
    ImportError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
    UnpicklingError,
    TypeError,
    AttributeError,
)

_NO_TOKENIZER: Final = (
    "no tokenizer that can be read; put the one that the model was trained with (tokenizer.json,"
    " tokenizer_config.json) beside its weights"
)

# What transformers says in many words, or in misleading ones → finding and remedy.
_SAYINGS: Final = {
    "trust_remote_code": "the {what} needs code from the model's repository; read that code, then"
    " pass --trust-remote-code",
    "not a valid JSON file": "its config.json is not JSON; copy or download it again",
    "requires `accelerate`": "--device-map needs the package accelerate; pip install accelerate",
    "instantiate the backend tokenizer": _NO_TOKENIZER,
    # transformers 4 looks for other kinds of tokenizers, and misses what they would need.
    "requires the protobuf library": _NO_TOKENIZER,
    "requires the SentencePiece library": _NO_TOKENIZER,
    "TokenizersBackend": "its tokenizer was saved by transformers 5 (TokenizersBackend), which"
    f" transformers {transformers.__version__} does not have; use transformers 5, or write"
    ' "tokenizer_class": "PreTrainedTokenizerFast" in tokenizer_config.json',
    "does not recognize this architecture": "its model_type is unknown to transformers"
    f" {transformers.__version__}; upgrade transformers, or check config.json",
    "Weights only load failed": "its pickle file holds more than weights, which could run code, so"
    " torch refuses it; convert the weights to safetensors",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All of a model but its weights.

    Attributes:
        model: what the user gave: ``tiny``, a folder, or a Hub id.
        name: the model's, for results.
        where: the folder that it is loaded from.
        commit: the Hub's; None for a local folder.
        config: transformers' configuration.
        tokenizer: transformers' tokenizer.
        template: how conversations become text.
        max_length: most tokens of a conversation; None for no limit.
        options: how the model is loaded and fed.
        checks: what was found; a refused one is for the caller to refuse.
    """

    model: str
    name: str
    where: str
    commit: str | None
    config: Any
    tokenizer: Any
    template: Template
    max_length: int | None
    options: ModelOptions
    checks: list[Check]

    @property
    def place(self) -> str:
        """What messages call it: the folder, or the Hub id."""
        return self.where if self.commit is None else self.name


class Loaded(NamedTuple):
    """A model on its device, in eval mode, and what was found out about it."""

    network: Any
    dtype: str
    max_length: int | None
    checks: list[Check]


def open_checkpoint(model: str, options: ModelOptions) -> Checkpoint:
    """Read and check configuration, tokenizer and template of a model.

    Args:
        model: ``tiny``, a local folder, or a Hub id.
        options: how to load and feed it.

    Raises:
        ScorerError: it cannot be read, is no reward model with one logit, lacks a template, or
            would need code that is not trusted.
    """
    where, name, commit = _locate(model, options)
    place = where if commit is None else name
    check_folder(Path(where), place)
    config = _load(AutoConfig, where, options, place=place, what="configuration")
    check_config(config, name)
    check_code(config, place, options)
    stated, _ = PretrainedConfig.get_config_dict(where)
    checks = check_settings(config, stated, options, where=where)
    tokenizer = _load(AutoTokenizer, where, options, place=place, what="tokenizer")
    template = load_template(options.template, tokenizer, name)
    template = with_format(template, tokenizer, options, model=name)
    checks += check_text(template, tokenizer, options)
    return Checkpoint(
        model=model,
        name=name,
        where=where,
        commit=commit,
        config=config,
        tokenizer=tokenizer,
        template=template,
        max_length=_max_length(position_limit(config), options, name),
        options=options,
        checks=checks,
    )


def _locate(model: str, options: ModelOptions) -> tuple[str, str, str | None]:
    """Return the folder to read, the model's name, and its commit on the Hub."""
    where, name = locate(model)
    if not Path(where).is_dir():
        commit = find_commit(where, options.revision)
        return str(fetch_texts(where, commit)), name, commit
    if options.revision is not None:
        raise ScorerError(
            f"{where}: --revision {options.revision} is for models of the Hub; a local folder has"
            " no revisions, so leave it out"
        )
    return where, name, None


def load_weights(checkpoint: Checkpoint) -> Loaded:
    """Load the weights of a checkpoint.

    Returns:
        The model, and the most tokens of a conversation now that its positions are known.

    Raises:
        ScorerError: weights are missing, of another shape, or pickle that is not trusted.
    """
    options, name = checkpoint.options, checkpoint.name
    if checkpoint.commit is not None:
        fetch_weights(name, checkpoint.commit, pickle=options.trust_pickle)
    with _quiet():
        network, dtype = _load_weights(checkpoint)
    max_length = _max_length(position_limit(checkpoint.config, network), options, name)
    return Loaded(network, dtype, max_length, check_network(network, checkpoint.tokenizer))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' reports on loading off the screen: what matters in them is checked."""
    logging: Any = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def refuse(checks: Iterable[Check], name: str) -> None:
    """Refuse a model on the first check that does.

    Raises:
        ScorerError: a check refuses it.
    """
    for check in checks:
        if check.status == REFUSED:
            raise ScorerError(f"{name}: {check.name}: {check.seen}; {check.remedy}")


def check_folder(folder: Path, place: str) -> None:
    """Refuse a folder that cannot hold a whole model, before anything is read from it.

    Raises:
        ScorerError: it lacks config.json, or is a LoRA adapter alone.
    """
    weights = any(any(folder.glob(pattern)) for pattern in ("model*.safetensors", "pytorch_model*"))
    if (folder / "adapter_config.json").is_file() and not weights:
        raise ScorerError(
            f"{place}: a LoRA adapter without its base model; merge the two (merge_and_unload of"
            " peft), save the whole, and give that folder"
        )
    if not (folder / "config.json").is_file():
        raise ScorerError(
            f"{place}: no config.json; give the folder of one model, as save_pretrained writes it"
        )


def _load(loader: Any, where: str, options: ModelOptions, *, place: str, what: str) -> Any:
    try:
        with _quiet():
            return loader.from_pretrained(where, trust_remote_code=options.trust_remote_code)
    except _UNLOADABLE as error:
        raise ScorerError(_explain(place, what, error)) from None


def _explain(where: str, what: str, error: Exception) -> str:
    """Return one line for what transformers says in many: place, finding, remedy."""
    text = _whole_text(error)
    for saying, message in _SAYINGS.items():
        if saying in text:
            return f"{where}: {message.format(what=what)}"
    if isinstance(error, SafetensorError):
        return (
            f"{where}: a .safetensors file is damaged or cut off ({_first_line(error)}); copy or"
            " download it again"
        )
    remedy = "is the folder complete?" if Path(where).is_dir() else "is the repository complete?"
    return f"{where}: the {what} cannot be loaded: {_first_line(error)}; {remedy}"


def _whole_text(error: BaseException | None) -> str:
    """Return what an error and those behind it say; transformers 4 words some of them anew."""
    texts = []
    while error is not None:
        texts.append(str(error))
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def _first_line(error: Exception) -> str:
    """Return what an error says, in one line, with its type where the text alone says little."""
    first = (str(error).strip().splitlines() or [""])[0].rstrip(".:")
    return first if isinstance(error, OSError) else f"{type(error).__name__}: {first}"


def check_config(config: Any, name: str) -> None:
    """Refuse what is no reward model, before its weights are fetched.

    Raises:
        ScorerError: it has not exactly one logit, or a pad token beyond its vocabulary.
    """
    text = config.get_text_config()
    pad, size = getattr(text, "pad_token_id", None), getattr(text, "vocab_size", None)
    if isinstance(pad, int) and isinstance(size, int) and pad >= size:
        raise ScorerError(
            f"{name}: config.json has pad_token_id {pad} and a vocab_size of {size}; set"
            " pad_token_id to a token that the model has, or take it out"
        )
    if config.num_labels == 1:
        return
    architecture = ", ".join(config.architectures or ["unknown"])
    if "SequenceClassification" not in architecture:
        raise ScorerError(
            f"{name}: its architecture is {architecture}, not a sequence classifier; give a reward"
            " model, which has a head with one logit (num_labels 1)"
        )
    raise ScorerError(
        f"{name}: {config.num_labels} logits ({architecture}) where a reward model has one, and"
        " which of them is the reward is not known; give a model trained with num_labels 1"
    )


def check_code(config: Any, where: str, options: ModelOptions) -> None:
    """Refuse a model that brings its own classifier when its code is not trusted.

    Where transformers knows the model type it would take its own class instead, silently, and its
    rewards need not be the model's.

    Raises:
        ScorerError: config.json names such code, and ``trust_remote_code`` is off.
    """
    code = (getattr(config, "auto_map", None) or {}).get("AutoModelForSequenceClassification")
    if code is not None and not options.trust_remote_code:
        message = _SAYINGS["trust_remote_code"].format(what=f"model ({code})")
        raise ScorerError(f"{where}: {message}")


def _load_weights(checkpoint: Checkpoint) -> tuple[Any, str]:
    """Return the model on its device, in eval mode, and the name of its dtype."""
    options, config = checkpoint.options, checkpoint.config
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device)
    extra: dict[str, Any] = {}
    attention = options.attention or ("eager" if wants_eager(config) else None)
    if attention is not None:
        extra["attn_implementation"] = attention
    if options.device_map is not None:
        extra["device_map"] = options.device_map
    # Else transformers asks a service on the Hub to convert pickle weights, and loads what comes.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    try:
        network, loading = AutoModelForSequenceClassification.from_pretrained(
            checkpoint.where,
            config=config,
            trust_remote_code=options.trust_remote_code,
            dtype=getattr(torch, dtype),
            use_safetensors=None if options.trust_pickle else True,
            ignore_mismatched_sizes=True,  # check_loading refuses them, and says which
            output_loading_info=True,
            **extra,
        )
    except _UNLOADABLE as error:
        raise ScorerError(_explain_weights(checkpoint, error)) from None
    check_loading(loading, checkpoint.name)
    if options.device_map is None:
        network = network.to(device)
    return network.eval(), dtype


def _explain_weights(checkpoint: Checkpoint, error: Exception) -> str:
    options, place, text = checkpoint.options, checkpoint.place, str(error)
    if options.attention is not None and ("attn_impl" in text or "Attention" in text):
        return (
            f"{place}: --attention {options.attention} cannot be used: {_first_line(error)}; give"
            " sdpa or eager, or leave it out"
        )
    if isinstance(error, OSError) and "model.safetensors" in text:  # only ever when it is missing
        pickle = "with `safetensors`" in text or any(Path(checkpoint.where).glob("*.bin"))
        if pickle and not options.trust_pickle:
            return (
                f"{place}: no safetensors weights; pickle weights can run code: convert them, or"
                " pass --trust-pickle if you trust their author"
            )
        return f"{place}: no weights; a model has them in model.safetensors (or several such files)"
    return _explain(place, "model", error)


def check_loading(loading: dict[str, Any], name: str) -> None:
    """Refuse a model of which any weight would be drawn at random.

    Args:
        loading: transformers' ``output_loading_info``.
        name: the model's, for the message.

    Raises:
        ScorerError: the checkpoint lacks weights, or has them in another shape.
    """
    missing = sorted(map(str, loading["missing_keys"]))
    unexpected = sorted(map(str, loading["unexpected_keys"]))
    if missing:
        spare = f" (it has {_some(unexpected)}, which this model has no use for)"
        finding = f"lacks {_some(missing)}{spare if unexpected else ''}"
    elif loading["mismatched_keys"]:
        item = min(loading["mismatched_keys"], key=str)
        if isinstance(item, str):  # transformers 4 keeps the shapes to itself
            finding = f"has {item} in another shape than config.json means"
        else:
            key, found, expected = item[:3]
            finding = f"has {key} in shape {tuple(found)} where config.json means {tuple(expected)}"
    else:
        return
    raise ScorerError(
        f"{name}: the checkpoint {finding}; these weights would be random and so would the rewards;"
        " use a checkpoint saved with its reward head"
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def choose_dtype(choice: str, device: torch.device) -> str:
    """Return the dtype that ``auto`` means on a device, or the one that was chosen."""
    if choice != "auto":
        return choice
    return "bfloat16" if device.type == "cuda" else "float32"


def choose_device(choice: str) -> torch.device:
    """Return the device that was chosen, or for ``auto`` CUDA, then MPS, then the CPU.

    Raises:
        ScorerError: it cannot be used here.
    """
    if choice == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(choice)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ScorerError(
            f'device "{choice}" cannot be used: torch {torch.__version__} finds'
            f" {torch.cuda.device_count()} CUDA devices here; give auto or cpu, or what there is of"
            " cuda, cuda:1, mps"
        ) from None
    return device


def position_limit(config: Any, network: Any = None) -> int | None:
    """Return the most tokens for which a model has positions; None for no limit.

    Args:
        config: the model's; its ``max_position_embeddings``.
        network: the loaded model. Encoders of RoBERTa's kind count positions from behind their pad
            token's id, so that fewer are left than config.json says (514 for 512 tokens).
    """
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    if network is not None:
        for name, module in network.named_modules():
            padding = getattr(module, "padding_idx", None)
            if name.endswith("position_embeddings") and padding is not None:
                limit = module.num_embeddings - padding - 1
    return int(limit) if limit else None


def _max_length(limit: int | None, options: ModelOptions, name: str) -> int | None:
    """Return the limit in tokens: the option's, within the model's own; None for no limit."""
    if options.max_length is None:
        return limit
    if limit is not None and options.max_length > limit:
        raise ScorerError(
            f"{name}: --max-length {options.max_length} is beyond the model's own {limit} tokens;"
            " give less, or leave it out"
        )
    return options.max_length
