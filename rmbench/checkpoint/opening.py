"""A model's folder or repository, opened: all of it but the weights, read and checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from transformers import AutoConfig, AutoTokenizer

from rmbench.checkpoint.adapter import Adapter, combine, read_adapter
from rmbench.checkpoint.chat import Template, load_template, with_format
from rmbench.checkpoint.config_findings import check_settings, check_values
from rmbench.checkpoint.enclosure import prepare
from rmbench.checkpoint.explain import TRUST, foreign, muted
from rmbench.checkpoint.findings import REFUSED, Check
from rmbench.checkpoint.hub import fetch_texts, find_commit
from rmbench.checkpoint.identity import digest_folder, locate
from rmbench.checkpoint.options import ModelOptions
from rmbench.checkpoint.reader_file import Reader, find_reader
from rmbench.checkpoint.stored import Stored, read_json, read_stored, refuse_pointers
from rmbench.checkpoint.text_findings import check_text
from rmbench.checkpoint.tokenizer_findings import check_tokenizer
from rmbench.checkpoint.writing import with_parts
from rmbench.errors import ScorerError

__all__ = ["Checkpoint", "limit_length", "open_checkpoint", "position_limit", "refuse"]

_WEIGHTS: Final = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """All of a model but its weights.

    Attributes:
        model: what the user gave: ``tiny``, a folder, or a Hub id.
        name: the model's, for results.
        where: the folder that it is loaded from; of an adapter, its base's.
        commit: the Hub's; None for a local folder.
        adapter: the adapter that is merged into it; None where there is none.
        base_commit: the Hub's commit of the adapter's base; None for a local folder.
        config: transformers' configuration.
        stated: ``config.json`` as it is written.
        tokenizer: transformers' tokenizer.
        template: how conversations become text.
        max_length: most tokens of a conversation; None for no limit.
        reader: where the reward is read, as far as a file states it.
        options: how the model is loaded and fed.
        checks: what was found; a refused one is for the caller to refuse.
    """

    model: str
    name: str
    where: str
    commit: str | None
    adapter: Adapter | None
    base_commit: str | None
    config: Any
    stated: Mapping[str, Any]
    tokenizer: Any
    template: Template
    max_length: int | None
    reader: Reader
    options: ModelOptions
    checks: list[Check]

    @property
    def folder(self) -> Path:
        """The folder that it is loaded from."""
        return Path(self.where)

    @property
    def own_folder(self) -> Path:
        """The folder that the user means: an adapter's, else that of the weights."""
        return self.folder if self.adapter is None else self.adapter.folder

    @property
    def text_folder(self) -> Path:
        """The folder of its tokenizer: an adapter's own, where it has one."""
        return self.own_folder if _has_tokenizer(self.own_folder) else self.folder

    @property
    def revision(self) -> str:
        """The commit on the Hub, or a digest of local files; of an adapter and its base, both."""
        own = self.commit or digest_folder(self.own_folder)
        if self.adapter is None:
            return own
        return combine(own, self.base_commit or digest_folder(self.folder))

    @property
    def place(self) -> str:
        """What messages call it: the folder, or the Hub id."""
        return str(self.own_folder) if self.commit is None else self.name


def open_checkpoint(model: str, options: ModelOptions) -> Checkpoint:
    """Read and check configuration, tokenizer and template of a model.

    Args:
        model: ``tiny``, a local folder, or a Hub id.
        options: how to load and feed it.

    Raises:
        ScorerError: it cannot be read, lacks a template, or would need code that is not trusted.
    """
    where, name, commit = _locate(model, options)
    prepare()
    place, own = where if commit is None else name, Path(where)
    adapter = read_adapter(own, place)
    base_commit = None
    if adapter is not None:
        where, base_commit = _locate_base(adapter, place)
    folder = Path(where)
    check_model_folder(own, folder, place)
    stated = read_json(folder / "config.json")
    refuse(check_values(stated), place)
    for home in dict.fromkeys((own, folder)):
        check_code(home, place, options)
    reader = find_reader(options.reader, own)
    config = _read_config(folder, place, options, backbone=reader.backbone)
    checks = check_settings(config, stated, _peek(folder), options)
    text = _read_text(own if _has_tokenizer(own) else folder, options, (name, place))
    text = text.with_append(_appended(text.tokenizer, reader, config, place))
    return Checkpoint(
        model=model,
        name=name,
        where=where,
        commit=commit,
        adapter=adapter,
        base_commit=base_commit,
        config=config,
        stated=stated,
        tokenizer=text.tokenizer,
        template=text.template,
        max_length=limit_length(position_limit(config), options, name),
        reader=reader,
        options=options,
        checks=checks + text.checks,
    )


class _Text(NamedTuple):
    """What conversations are written with."""

    tokenizer: Any
    template: Template
    checks: list[Check]

    def with_append(self, ids: tuple[int, ...]) -> "_Text":
        """Return the same with tokens behind every conversation."""
        return self._replace(template=replace(self.template, append=ids)) if ids else self


def _read_text(folder: Path, options: ModelOptions, names: tuple[str, str]) -> _Text:
    """Return tokenizer and template of a folder; ``names`` are the model's, and its place."""
    name, place = names
    with foreign(place, "tokenizer"), muted():
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=options.trust_remote_code
        )
    template = load_template(options.template, tokenizer, name)
    template = with_format(template, tokenizer, options, model=name)
    template = with_parts(template, tokenizer)
    found = check_tokenizer(tokenizer, template, folder, place=place)
    return _Text(tokenizer, template, [found, *check_text(template, tokenizer, options)])


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))


def _locate_base(adapter: Adapter, place: str) -> tuple[str, str | None]:
    """Return the folder of an adapter's base, and its commit on the Hub.

    Raises:
        ScorerError: the base is nowhere, or an adapter too.
    """
    try:
        where, _, commit = _locate(adapter.base, ModelOptions(revision=adapter.revision))
    except ScorerError as error:
        raise ScorerError(f"{place}: its base model: {error}") from None
    if (Path(where) / "adapter_config.json").is_file():
        raise ScorerError(
            f"{place}: its base {adapter.base} holds an adapter itself; merge the two"
            " (merge_and_unload of peft), and give the whole"
        )
    return where, commit


def _appended(tokenizer: Any, reader: Reader, config: Any, place: str) -> tuple[int, ...]:
    """Return the tokens behind every conversation: a reader's, or the one that config.json names.

    InternLM2's reward models put ``reward_token_id`` there, and read the reward at it.
    """
    number = getattr(config, "reward_token_id", None)
    if not reader.append:
        return (number,) if isinstance(number, int) and number >= 0 else ()
    with foreign(place, "tokenizer"):
        ids = tokenizer(reader.append, add_special_tokens=False)["input_ids"]
    return tuple(map(int, ids))


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


def check_model_folder(own: Path, folder: Path, place: str) -> None:
    """Refuse a folder that cannot hold one whole model, before anything is read from it.

    Args:
        own: the model's.
        folder: that of its configuration and weights: its own, or that of an adapter's base.
        place: what messages call the model.

    Raises:
        ScorerError: config.json is missing, or a file is a pointer of Git LFS.
    """
    if not (folder / "config.json").is_file():
        where = place if folder == own else str(folder)
        raise ScorerError(
            f"{where}: no config.json; give the folder of one model, as save_pretrained writes it"
        )
    for home in dict.fromkeys((own, folder)):
        refuse_pointers(home)


def check_code(folder: Path, place: str, options: ModelOptions) -> None:
    """Refuse a model that brings its own classes when its code is not trusted.

    Where transformers knows the type of model, configuration or tokenizer, it would take its own
    class instead, silently, and the rewards need not be the model's.

    Raises:
        ScorerError: a file names such code, and ``trust_remote_code`` is off.
    """
    if options.trust_remote_code:
        return
    named: dict[str, Any] = {}
    for file in ("config.json", "tokenizer_config.json"):
        if (folder / file).is_file():
            found = read_json(folder / file)
            named |= {file: found.get("auto_map")} if isinstance(found, dict) else {}
    for file, code in named.items():
        if code:
            names = code.values() if isinstance(code, dict) else [code]
            first = next(iter(names))
            first = first[-1] if isinstance(first, list) and first else first
            what = "tokenizer" if file != "config.json" else _part(code)
            raise ScorerError(f"{place}: " + TRUST.format(what=f"{what} ({first})"))


def _part(code: Any) -> str:
    return "configuration" if isinstance(code, dict) and [*code] == ["AutoConfig"] else "model"


def _read_config(
    folder: Path, place: str, options: ModelOptions, *, backbone: str | None = None
) -> Any:
    """Return the configuration, without what only shapes the output of a forward pass."""
    with foreign(place, "configuration"):
        config: Any
        if backbone is None:
            config = AutoConfig.from_pretrained(folder, trust_remote_code=options.trust_remote_code)
        else:  # a reader says which decoder a type of model of its own is built over
            stated = read_json(folder / "config.json")
            settings = {k: v for k, v in stated.items() if k not in ("model_type", "auto_map")}
            config = AutoConfig.for_model(backbone, **settings)
        config.return_dict = True
        config.output_attentions = config.output_hidden_states = False
        config.get_text_config()  # raises where a model has several and none is the text's
    text = config.get_text_config()
    pad, size = getattr(text, "pad_token_id", None), getattr(text, "vocab_size", None)
    if isinstance(pad, int) and isinstance(size, int) and pad >= size:
        raise ScorerError(
            f"{place}: config.json has pad_token_id {pad} and a vocab_size of {size}; set"
            " pad_token_id to a token that the model has, or take it out"
        )
    return config


def _peek(folder: Path) -> Stored:
    """Return the headers of a folder's weights; nothing for one whose weights are not there yet."""
    if any(any(folder.glob(kind)) for kind in _WEIGHTS):
        try:
            return read_stored(folder, pickle=True)
        except ScorerError:
            return Stored()  # loading the weights refuses it, after what can be said before
    return Stored()


def refuse(checks: Iterable[Check], name: str) -> None:
    """Refuse a model on the first check that does.

    Raises:
        ScorerError: a check refuses it.
    """
    for check in checks:
        if check.status == REFUSED:
            raise ScorerError(f"{name}: {check.name}: {check.seen}; {check.remedy}")


def position_limit(config: Any, network: Any = None) -> int | None:
    """Return the most tokens for which a model has positions; None for no limit.

    Args:
        config: the model's; its ``max_position_embeddings``, of which -1 is no limit.
        network: the loaded model. Encoders of RoBERTa's kind count positions from behind their pad
            token's id, so that fewer are left than config.json says (514 for 512 tokens).
    """
    limit = getattr(config.get_text_config(), "max_position_embeddings", None)
    if network is not None:
        for name, module in network.named_modules():
            padding = getattr(module, "padding_idx", None)
            if name.endswith("position_embeddings") and padding is not None:
                limit = module.num_embeddings - padding - 1
    return int(limit) if isinstance(limit, int) and limit > 0 else None


def limit_length(limit: int | None, options: ModelOptions, name: str) -> int | None:
    """Return the limit in tokens: the option's, within the model's own; None for no limit.

    Raises:
        ScorerError: the option is beyond the model's own.
    """
    if options.max_length is None:
        return limit
    if limit is not None and options.max_length > limit:
        raise ScorerError(
            f"{name}: --max-length {options.max_length} is beyond the model's own {limit} tokens;"
            " give less, or leave it out"
        )
    return options.max_length
