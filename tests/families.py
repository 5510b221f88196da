"""The families of reward models: how each is reached, and a tiny folder in its layout to prove it.

``benchmarks/families.py`` runs every command and writes the table of docs/models.md.
"""

from __future__ import annotations

import json
import shlex
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import family_code
import models
import numpy as np
import torch
import transformers
from click.testing import CliRunner
from family_build import (
    BIAS,
    CHAIN,
    INNER_BIAS,
    SCORE,
    WIDTH,
    Preferred,
    Truth,
    Turns,
    appended,
    at,
    classifier,
    coded,
    encode,
    head,
    linear,
    lm_rows,
    matrix,
    of_class,
    of_type,
    other_type,
    save,
    state,
    states,
    two_layers,
    value_head_file,
    write,
)
from jinja2 import Environment
from safetensors.torch import load_file

from rmbench.cli import main

ROOT = Path(__file__).parent.parent
ROWS = (
    {"prompt": "What is two and two?", "chosen": "It is 4.\n\nYes.", "rejected": "Five!"},
    {"prompt": "Say it in one word.", "chosen": "four", "rejected": "It is"},
)
MOST = 1e-5
"""Largest difference from the plain computation, in float32."""
TRUSTED = "--trust-remote-code --revision COMMIT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One row of the table.

    Attributes:
        name: what its models are known as.
        way: how it is scored.
        command: what stands behind ``rmbench run --model``.
        stated: what the user must know.
        listed: how many of RewardBench's own list of 122 models belong to it.
        build: writes a folder, and returns what computes its rewards plainly; None where no folder
            is built, and ``stated`` says why.
    """

    name: str
    way: str
    command: str = "NAME"
    stated: str = ""
    listed: int = 0
    build: Callable[[Path], Any] | None = None


# --- what the builders of family_build do not have ----------------------------------------------


def adapter(folder: Path) -> Truth:
    """A LoRA with a trained head, and its base beside it."""
    import peft

    base = models.build(transformers.LlamaForCausalLM, models.config("llama", num_labels=2))
    models.save(folder.parent / "base", base)
    loader = transformers.AutoModelForSequenceClassification
    model = loader.from_pretrained(folder.parent / "base", num_labels=1)
    settings = peft.LoraConfig(task_type="SEQ_CLS", r=4, lora_alpha=8, target_modules=["q_proj"])
    with warnings.catch_warnings(action="ignore"):  # of peft's, about transformers
        wrapped = peft.get_peft_model(model, settings)
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.data.normal_(std=0.3)
        wrapped.save_pretrained(folder)
    lora = load_file(folder / "adapter_model.safetensors")
    for i, layer in enumerate(base.model.layers):
        stem = f"base_model.model.model.layers.{i}.self_attn.q_proj.lora_"
        layer.self_attn.q_proj.weight.data += 2 * lora[f"{stem}B.weight"] @ lora[f"{stem}A.weight"]
    score = lora["base_model.model.score.weight"]
    return at(base.model, folder.parent / "base", linear(score))


def policies(reference: str) -> Any:
    """A policy and its reference, or the policy alone."""

    def log_probability(folder: Path, turns: Turns) -> torch.Tensor:
        words = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
        first = len(encode(folder, turns[:-1])) + len("[assistant]")
        ids = encode(folder, turns)
        assert words.decode(ids[first:]).startswith(turns[-1]["content"])
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, first - 1 : -1].double()
        return logits.log_softmax(-1)[range(len(ids) - first), ids[first:]]

    def build(folder: Path) -> Truth:
        words = models.tokenizer(template=PROMPTED)
        for seed, place in enumerate((folder, folder.parent / "reference")):
            torch.manual_seed(seed)
            model = transformers.LlamaForCausalLM(models.config("llama", num_labels=2))
            models.save(place, model, words)

        def truth(turns: Turns) -> float:
            own = log_probability(folder, turns)
            if reference == "none:mean":
                return float(own.mean())
            if reference == "none:sum":
                return float(own.sum())
            return float(own.sum() - log_probability(folder.parent / "reference", turns).sum())

        return truth

    return build


PROMPTED = models.CHAT + "{% if add_generation_prompt %}[assistant]{% endif %}"


def pair_encoder(folder: Path) -> Preferred:
    """PairRM: a head on pairs of marks' states, the difference of two orders within one text."""
    marks = ["<|source|>", "<|candidate1|>", "<|candidate2|>"]
    words = models.tokenizer(template=None)
    words.add_special_tokens({"additional_special_tokens": marks})
    settings = transformers.DebertaV2Config(
        **{name: value for name, value in models.SHAPE.items() if "position" not in name},
        max_position_embeddings=512,
    )
    settings.vocab_size = len(words)
    backbone = models.build(transformers.DebertaV2Model, settings)
    settings.architectures = ["DebertaV2PairRM"]
    settings.save_pretrained(folder)
    words.save_pretrained(folder)
    first, second = matrix(WIDTH, 2 * WIDTH, seed=5), matrix(1, seed=6)
    named = {f"pretrained_model.{name}": x for name, x in backbone.state_dict().items()}
    named |= {"head_layer.1.weight": first, "head_layer.1.bias": INNER_BIAS}
    write(folder, named | {"head_layer.4.weight": second, "head_layer.4.bias": BIAS})

    def preferred(prompt: str, one: str, other: str) -> float:
        parts = zip(marks, (prompt, one, other), strict=True)
        ids = [i for mark, text in parts for i in words(mark + text)["input_ids"]]
        hidden = states(backbone, ids)
        source, left, right = (hidden[ids.index(words.convert_tokens_to_ids(m))] for m in marks)
        scores = [
            torch.tanh(torch.cat([source, side]) @ first.T + INNER_BIAS) @ second[0] + BIAS
            for side in (left, right)
        ]
        return float((scores[0] - scores[1]).sigmoid())

    return preferred


def letters(written: Callable[[str, str, str], str], kind: str) -> Any:
    """A language model that answers A or B; ``written`` gives the text it is shown."""

    def build(folder: Path) -> Preferred:
        if kind == "t5":
            model = models.build(transformers.T5ForConditionalGeneration, t5())
            words = models.tokenizer(template=None)
        else:
            shape = models.config("llama", num_labels=2, max_position_embeddings=512)
            model = models.build(transformers.LlamaForCausalLM, shape)
            words = models.tokenizer()
        models.save(folder, model, words)

        def preferred(prompt: str, one: str, other: str) -> float:
            ids = words(written(prompt, one, other), add_special_tokens=False)["input_ids"]
            given: dict[str, Any] = {"input_ids": torch.tensor([ids])}
            if kind == "t5":
                given["decoder_input_ids"] = torch.tensor([[0]])
            with torch.inference_mode():
                logits = model(**given).logits[0, -1]
            return float(logits[words.convert_tokens_to_ids(["A", "B"])].softmax(-1)[0])

        return preferred

    return build


# How the model's card writes a context: by a chat template, as transformers renders those.
SLIC = Environment(trim_blocks=True, lstrip_blocks=True).from_string(
    "\n{% for message in messages %}{% if loop.index0 % 2 == 0 %}\n\n<turn> user\n"
    " {{ message['content'] }}{% else %}\n\n<turn> assistant\n {{ message['content'] }}"
    "{% endif %}{% endfor %}\n\n\n"
)


def in_slic_form(prompt: str, one: str, other: str) -> str:
    context = SLIC.render(messages=[{"role": "user", "content": prompt}])
    text = f"[CONTEXT] {context} [RESPONSE A] {one} [RESPONSE B] {other} \n"
    return f"[user]{text}</s>"


def in_shp_form(prompt: str, one: str, other: str) -> str:
    return (
        f"POST: {prompt}\n\n RESPONSE A: {one}\n\n RESPONSE B: {other}\n\n"
        " Which response is better? RESPONSE"
    )


def t5() -> Any:
    return transformers.T5Config(
        vocab_size=models.VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4,
        pad_token_id=0, eos_token_id=2, decoder_start_token_id=0, num_labels=1,
        initializer_factor=1.0,
    )  # fmt: skip


T5 = {name: value for name, value in t5().to_dict().items() if name != "architectures"}
MARK = "<extra_0>"


STEPWISE = {
    "coded": family_code.ProcessRewardModel,
    "classes": transformers.LlamaForTokenClassification,
    "tokens": transformers.LlamaForCausalLM,
    "value": transformers.LlamaForCausalLM,
}


def steps(kind: str) -> Any:
    """A process reward model, read at a mark behind each step, or at each step's last token."""

    def build(folder: Path) -> Truth:
        words = models.tokenizer()
        words.add_special_tokens({"additional_special_tokens": [MARK]})
        settings = models.config("llama", num_labels=2, vocab_size=len(words))
        model = models.build(STEPWISE[kind], settings)
        models.save(folder, model, words)
        if kind == "coded":
            (folder / "modeling_own.py").write_text(Path(family_code.__file__).read_text())
            state(folder, auto_map={"AutoModel": "modeling_own.ProcessRewardModel"})
        if kind == "value":
            state(folder, architectures=["LlamaForRewardModel"])
            own = {f"model.{name}": x for name, x in model.model.state_dict().items()}
            write(folder, own | {"v_head.summary.weight": SCORE, "v_head.summary.bias": BIAS})

        def truth(turns: Turns) -> list[float]:
            ids, places = step_places(folder, turns, words, None if kind == "classes" else MARK)
            with torch.inference_mode():
                hidden = states(model.model, ids)[places]
                logits = model(input_ids=torch.tensor([ids])).logits[0, places]
                found: list[float] = step_rewards(kind, hidden, logits, words).tolist()
            return found

        return truth

    return build


def step_rewards(kind: str, hidden: torch.Tensor, logits: torch.Tensor, words: Any) -> torch.Tensor:
    if kind == "tokens":
        return logits[:, words.convert_tokens_to_ids(["+", "-"])].softmax(-1)[:, 0]
    return (hidden @ SCORE[0] + BIAS).sigmoid() if kind == "value" else logits.softmax(-1)[:, 1]


def step_places(
    folder: Path, turns: Turns, words: Any, mark: str | None
) -> tuple[list[int], list[int]]:
    """Return the ids of a conversation with its marks, and where its steps are read."""
    parts = turns[-1]["content"].split("\n\n")
    answer = "".join(part + mark for part in parts) if mark else "\n\n".join(parts)
    ids = encode(folder, [*turns[:-1], {"role": "assistant", "content": answer}])
    if mark:
        number = words.convert_tokens_to_ids(mark)
        return ids, [i for i, token in enumerate(ids) if token == number]
    start = len(ids) - 1 - len(answer)  # a token is a byte, and the last one is the eos
    lengths = [len("\n\n".join(parts[: i + 1])) for i in range(len(parts))]
    return ids, [start + length - 1 for length in lengths]


OWN = textwrap.dedent(
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    FOLDER = {folder!r}
    words, model = AutoTokenizer.from_pretrained(FOLDER), AutoModel.from_pretrained(FOLDER).eval()
    head = torch.load(FOLDER + "/head.pt", weights_only=True)


    def reward(conversation):
        text = words.apply_chat_template(list(conversation.messages), tokenize=False)
        ids = torch.tensor([words(text, add_special_tokens=False)["input_ids"]])
        with torch.inference_mode():
            last = model(ids).last_hidden_state[0, -1]
            bins = (head["bins"] @ last).reshape(22, 10).softmax(-1)
            gate = (head["gate"] @ last).softmax(-1)
            return float(gate @ (bins @ torch.linspace(0, 1, 10)))
    """
)


def own_file(folder: Path) -> Truth:
    """LDL: groups of bins, a gate and an expectation, with its head in a .pt file."""
    backbone = save(folder, {}, architectures=["LlamaModel"])
    parts = {"bins": matrix(220, seed=7), "gate": matrix(22, seed=8)}
    torch.save(parts, folder / "head.pt")
    (folder.parent / "FILE.py").write_text(OWN.format(folder=str(folder)))

    def reward(hidden: torch.Tensor) -> Any:
        mean = (parts["bins"] @ hidden).reshape(22, 10).softmax(-1) @ torch.linspace(0, 1, 10)
        return (parts["gate"] @ hidden).softmax(-1) @ mean

    return at(backbone, folder, reward)


# --- rewards of models with code of their own, from their parameters and the decoder's states ----


def gated(model: Any, ids: Sequence[int], hidden: torch.Tensor) -> float:
    places = [i for i in range(len(ids)) if list(ids[i : i + 11]) == family_code.OPENING]
    gate = model.gating(hidden[places[-1]]).softmax(-1)
    if isinstance(model, family_code.QuantileRewardModel):
        quantiles = (model.regression_layer.weight @ hidden[-1]).reshape(19, 5)
        return float(gate @ quantiles.mean(-1))
    rewards = model.regression_layer.weight @ hidden[-1]
    return float(gate @ (rewards @ model.reward_transform_matrix))


def uncertain(model: Any, _: Sequence[int], hidden: torch.Tensor) -> float:
    means = model.score.weight[:5] @ hidden[-1] + model.score.bias[:5]
    return float(model.gating(hidden[-1]).softmax(-1) @ means)


def valued(name: str) -> Any:
    """The one linear layer under a name, at the last token."""

    def reward(model: Any, _: Sequence[int], hidden: torch.Tensor) -> float:
        layer = model.get_submodule(name)
        bias = 0.0 if layer.bias is None else layer.bias[0]
        return float(layer.weight[0] @ hidden[-1] + bias)

    return reward


def chained(name: str) -> Any:
    def reward(model: Any, _: Sequence[int], hidden: torch.Tensor) -> float:
        first, _relu, last = model.get_submodule(name)
        inner = (first.weight @ hidden[-1] + first.bias).clamp(min=0)
        return float(last.weight[0] @ inner + last.bias[0])

    return reward


MAPPED, BARE = "AutoModelForSequenceClassification", "AutoModel"
EIGHT = models.SHAPE | models.GROUPED
OLD = "the transformers that its code was written for"
TEMPLATE = "the template, where the tokenizer has none"

FAMILIES = (
    Family(
        name="Skywork v0.2 and V2, Tulu, FsfairX, GRM `-ft`, OffsetBias, RM-Mistral, RAMO, BTRM"
        " and whatever else has one label",
        way="classifier", stated=TEMPLATE, listed=38, build=classifier("llama"),
    ),
    Family(name="Skywork-V2 on Qwen3", way="classifier", build=of_class("Qwen3Config", **EIGHT)),
    Family(
        name="Skywork on Gemma-2 (soft caps, windows)", way="classifier",
        build=classifier("gemma2"),
    ),
    Family(
        name="OpenAssistant's DeBERTa", way="classifier", stated=TEMPLATE, listed=1,
        build=of_class("DebertaV2Config", **models.SHAPE),
    ),
    Family(
        name="T5 classifiers", way="classifier", command="NAME --eos always",
        stated="an eos, where the template writes none",
        build=of_class("T5Config", **T5),
    ),
    Family(
        name="BART classifiers", way="classifier", command="NAME --eos always",
        stated="an eos, where the template writes none",
        build=of_class(
            "BartConfig", vocab_size=models.VOCABULARY, d_model=32, encoder_layers=2,
            decoder_layers=2, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=128, num_labels=1,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, init_std=0.2,
        ),
    ),
    Family(
        name="XLNet classifiers", way="classifier",
        build=of_class(
            "XLNetConfig", vocab_size=models.VOCABULARY, d_model=32, n_layer=2, n_head=4,
            d_inner=64, num_labels=1, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            initializer_range=0.2, use_mems_eval=False,
        ),
    ),
    Family(
        name="ODIN (length and quality)", way="classifier", command="NAME --model-output 1",
        stated="which output is the reward", build=classifier("llama", (0.0, 1.0)),
    ),
    Family(
        name="HelpSteer, SteerLM", way="classifier",
        command="NAME --model-output 0=0.65,1=0.8,2=0.45,3=0.55,4=-0.4",
        stated="the outputs' weights", build=classifier("llama", (0.65, 0.8, 0.45, 0.55, -0.4)),
    ),
    Family(
        name="DPA", way="classifier", command="NAME --model-output 0",
        stated="which output is the reward", listed=1,
        build=classifier("mistral", (1.0, *[0.0] * 9)),
    ),
    Family(
        name="ArmoRM", way="own code", command=f"NAME {TRUSTED}", stated=OLD, listed=1,
        build=coded("GatedRewardModel", MAPPED, gated, architectures=[
            "LlamaForRewardModelWithGating"]),
    ),
    Family(
        name="QRM", way="own code", command=f"NAME {TRUSTED}", stated=OLD, listed=4,
        build=coded("QuantileRewardModel", MAPPED, gated, architectures=[
            "LlamaForRewardModelWithGating"]),
    ),
    Family(
        name="URM", way="own code", command=f"NAME {TRUSTED}", stated=OLD, listed=2,
        build=coded("UncertainRewardModel", MAPPED, uncertain, id2label={
            str(i): f"LABEL_{i}" for i in range(10)}),
    ),
    Family(
        name="InternLM2-Reward, XTuner", way="own code", command=f"NAME {TRUSTED}",
        stated=f"{OLD}; `reward_token_id` of config.json is appended to the text", listed=3,
        build=coded("InternLM2ForRewardModel", BARE, valued("v_head")),
    ),
    Family(
        name="models whose rewards come from a method of theirs (`get_score`)", way="method",
        command="method:NAME --trust-remote-code",
        stated="`-o method=NAME`, where it is not `get_score`",
        build=coded("MethodRewardModel", BARE, valued("value")),
    ),
    Family(
        name="GRM-sftreg", way="own code", command=f"NAME {TRUSTED}", stated=OLD, listed=4,
        build=coded("RegularisedRewardModel", MAPPED, chained("v_head.summary"), architectures=[
            "LlamaForCausalLM"]),
    ),
    Family(
        name="GRM-sftreg without its code", way="head",
        command="NAME --reader examples/readers/value-head-mlp.toml", stated="the activation",
        build=head(
            {name.replace("score", "v_head.summary"): x for name, x in CHAIN.items()},
            two_layers, architectures=["LlamaForCausalLM"],
        ),
    ),
    Family(
        name="Ziya", way="own code", command=f"NAME {TRUSTED}", stated=TEMPLATE, listed=1,
        build=coded("FlatRewardModel", MAPPED, valued("regression_head")),
    ),
    Family(
        name="Eurus-RM", way="own code", command=f"NAME {TRUSTED}", stated=TEMPLATE, listed=1,
        build=coded("BareRewardModel", BARE, valued("regression_head")),
    ),
    Family(
        name="Qwen2.5-Math-RM, WorldPM", way="own code", command=f"NAME {TRUSTED}", listed=1,
        stated="the system prompt of the mathematical one",
        build=coded("TwoLayerRewardModel", BARE, chained("score")),
    ),
    Family(
        name="INF-ORM; Qwen2.5-Math-RM and WorldPM without their code", way="head", listed=1,
        command="NAME --reader examples/readers/two-layers.toml", stated="the activation",
        build=head(CHAIN, two_layers, architectures=["INFORMForSequenceClassification"]),
    ),
    Family(
        name="OpenRLHF", way="head",
        build=head({"value_head.weight": SCORE}, architectures=["RewardModel"],
                   value_head_prefix="value_head"),
    ),
    Family(
        name="UltraRM, Eurus-RM without its code", way="head", stated=TEMPLATE, listed=1,
        build=head({"regression_head.weight": SCORE}, architectures=["LlamaRewardModel"]),
    ),
    Family(
        name="Beaver's reward model", way="head", stated=TEMPLATE, listed=2,
        build=head(
            {"score_head.weight": SCORE, "score_head.bias": BIAS,
             "normalizer.mean": torch.zeros(1), "normalizer.var": torch.ones(1)},
            linear(SCORE, 0.25), architectures=["LlamaForScore"], score_type="reward",
        ),
    ),
    Family(
        name="Beaver's cost model", way="head", listed=2,
        stated=f"{TEMPLATE}; config.json says that lower is better",
        build=head({"score_head.weight": SCORE, "score_head.bias": BIAS},
                   lambda hidden: -(hidden @ SCORE[0] + BIAS), architectures=["LlamaForScore"],
                   score_type="cost"),
    ),
    Family(
        name="other cost models", way="classifier", command="NAME --negate", stated="the sign",
        build=classifier("llama", (-1.0,)),
    ),
    Family(
        name="Starling-34B", way="head", stated=TEMPLATE, listed=1,
        build=head({"v_head.weight": SCORE}, architectures=["LlamaForSequenceClassification2"],
                   prefix="transformer."),
    ),
    Family(
        name="Athene", way="head", command="NAME --reader examples/readers/appended-token.toml",
        stated="the token after the text", build=appended,
    ),
    Family(
        name="TRL's value heads, Skywork-o1 as one reward", way="head",
        build=head({"v_head.summary.weight": SCORE, "v_head.summary.bias": BIAS},
                   linear(SCORE, 0.25), architectures=["LlamaForCausalLM"], lm_head=True),
    ),
    Family(
        name="LLaMA-Factory; the text part of Skywork-VL", way="head",
        stated="the head's file, where it is not `value_head.safetensors`", listed=1,
        build=value_head_file,
    ),
    Family(
        name="OpenAssistant's Pythia", way="head", listed=2,
        command="NAME --reader examples/readers/other-type.toml", stated="the decoder's type",
        build=other_type,
    ),
    Family(
        name="torch.compile, DDP (`_orig_mod.`, `module.`)", way="head",
        build=head({"_orig_mod.score.weight": SCORE}, architectures=["RewardModel"],
                   prefix="_orig_mod.model."),
    ),
    Family(
        name="olmoe", way="head",
        build=of_type("OlmoeConfig", **EIGHT, num_experts=4, num_experts_per_tok=2),
    ),
    Family(name="granite", way="head", build=of_type("GraniteConfig", **EIGHT)),
    Family(name="cohere2", way="head", build=of_type("Cohere2Config", **EIGHT, sliding_window=8)),
    Family(
        name="mamba", way="head",
        build=of_type("MambaConfig", vocab_size=models.VOCABULARY, hidden_size=32, state_size=4,
                      num_hidden_layers=2, pad_token_id=0, bos_token_id=1, eos_token_id=2),
    ),
    Family(
        name="Nemotron-70B-Reward-HF", way="rows of `lm_head`",
        command="NAME --reader examples/readers/first-logit.toml",
        stated="a template that ends in the generation prompt", build=lm_rows({"": 1.0}),
    ),
    Family(
        name="yes/no rerankers, GenRM principle", way="rows of `lm_head`",
        command="NAME --reader examples/readers/yes-minus-no.toml", stated="the two tokens",
        build=lm_rows({"yes": 1.0, "no": -1.0}),
    ),
    Family(name="LoRA as peft saves it", way="adapter", stated="needs peft", build=adapter),
    Family(
        name="DPO, KTO, IPO", way="implicit", command="implicit:NAME -o reference=REFERENCE",
        stated="the reference", listed=48, build=policies("reference"),
    ),
    Family(
        name="the same without a reference, summed", way="implicit",
        command="implicit:NAME -o reference=none:sum", build=policies("none:sum"),
    ),
    Family(
        name="the same without a reference, the mean", way="implicit",
        command="implicit:NAME -o reference=none:mean", build=policies("none:mean"),
    ),
    Family(name="PairRM", way="pairwise", command="pairwise:NAME", listed=1, build=pair_encoder),
    Family(
        name="Better-PairRM", way="pairwise", listed=1,
        command="pairwise:NAME -o source_tokens=2030 -o candidate_tokens=670",
        stated="its lengths", build=pair_encoder,
    ),
    Family(
        name="SteamSHP", way="judge of one token", listed=2,
        command="judge:NAME -o prompt=steamshp --template none", build=letters(in_shp_form, "t5"),
    ),
    Family(
        name="pair-preference (SLiC)", way="judge of one token", listed=1,
        command="judge:NAME -o prompt=pair-preference", build=letters(in_slic_form, "llama"),
    ),
    Family(
        name="Qwen2.5-Math-PRM", way="process",
        command='process:NAME -o mark="<extra_0>" --trust-remote-code',
        stated="the mark; what makes one reward of the steps' (`-o reduce=`)",
        build=steps("coded"),
    ),
    Family(
        name="TRL's PRM, other token classifiers", way="process",
        stated="`-o split=`, where steps are not parted by an empty line", build=steps("classes"),
    ),
    Family(
        name="Skywork-o1-PRM", way="process", command='process:NAME -o mark="<extra_0>"',
        stated="the mark", build=steps("value"),
    ),
    Family(
        name="Math-Shepherd, RLHFlow's PRM", way="process",
        command='process:NAME -o mark="<extra_0>" -o tokens=+,-',
        stated="the mark; the tokens for good and bad", build=steps("tokens"),
    ),
    Family(
        name="LDL (`.pt` beside the model)", way="own file", command="file:FILE.py:reward",
        stated="a function of a conversation", listed=1, build=own_file,
    ),
    Family(
        name="Starling-7B (pickle, no config.json)", way="own file", command="file:FILE.py:NAME",
        stated="as LDL", listed=1,
    ),
    Family(
        name="POLAR; several candidates at once (groupwise)", way="own file",
        command="file:FILE.py:NAME",
        stated="a reference answer, which no bundled suite has; as LDL with a suite of one's own",
    ),
    Family(
        name="Prometheus 2, Skywork-Critic, RM-R1, DeepSeek-GRM, GenRM and other judges",
        way="judge", command="judge:NAME -o prompt=PROMPT",
        stated="prompt and verdict, see [judges](judges.md)",
    ),
    Family(
        name="any of these behind a server", way="server", command="server:URL -o model=NAME",
        stated="see [servers](servers.md)",
    ),
)  # fmt: skip


def row(family: Family) -> str:
    """Return a family's row of the table, up to the measured difference."""
    listed = str(family.listed or "")
    parts = (family.name, family.way, f"`{family.command}`", family.stated, listed)
    return f"| {' | '.join(parts)} |"


# --- one command, and what it is held against ---------------------------------------------------


def measure(family: Family, folder: Path) -> float:
    """Build a family's folder, run its command on it; return the largest difference.

    Args:
        family: one with a folder.
        folder: an empty one.
    """
    assert family.build is not None
    truth = family.build(folder / "NAME")
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    model, *options = shlex.split(family.command.replace("--revision COMMIT", ""))
    paths = {"NAME": "NAME", "REFERENCE": "reference", "FILE.py": "FILE.py"}
    for word, place in paths.items():
        model = model.replace(word, str(folder / place)) if word in model else model
        options = [part.replace(f"={word}", f"={folder / place}") for part in options]
    options = [str(ROOT / part) if part.startswith("examples/") else part for part in options]
    device = [] if family.way == "own file" else ["--device", "cpu"]
    command = ["run", str(rows), "--model", model, *options, *device]
    done = CliRunner().invoke(main, [*command, "--output", str(folder / "out")])
    assert done.exit_code == 0, done.output
    (lines,) = (folder / "out").glob("*/**/*.jsonl")
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len({json.dumps(item) for line in found for item in _answers(line)}) > 2, "all alike"
    return max(_apart(item, row, truth) for item, row in zip(found, ROWS, strict=True))


def _answers(found: Any) -> list[Any]:
    return found.get("preferences") or [found["chosen"], found["rejected"]]


def _apart(found: Any, row: Any, truth: Any) -> float:
    if "preferences" in found:
        texts, moved = (row["chosen"], row["rejected"]), []
        for order, shares in found["preferences"]:
            first = truth(row["prompt"], *(texts[i] for i in order))
            moved.append(abs(shares[0] - first))
        assert len(moved) == 2, "both orders"
        return max(moved)
    moved = []
    for side in ("chosen", "rejected"):
        (answer,) = found[side]
        expected = np.array(truth(conversation(row, side)))
        moved.append(float(np.abs(np.array(answer) - expected).max()))
    return max(moved)


def conversation(row: Mapping[str, str], side: str) -> Turns:
    """Return prompt and one response of a row as messages."""
    return (
        {"role": "user", "content": row["prompt"]},
        {"role": "assistant", "content": row[side]},
    )
