"""Models that have outputs for every token: language models, and those that judge steps."""

from typing import Any

import torch

from rmbench.checkpoint.explain import foreign
from rmbench.checkpoint.head import Headed
from rmbench.checkpoint.headed import load_headed
from rmbench.checkpoint.hub import fetch_weights
from rmbench.checkpoint.loading import check_loading, choose_class, from_pretrained
from rmbench.checkpoint.opening import Checkpoint
from rmbench.checkpoint.options import QUANTISED
from rmbench.checkpoint.quantise import quantise
from rmbench.checkpoint.stored import read_stored
from rmbench.checkpoint.weights import choose_device, choose_dtype
from rmbench.errors import ScorerError

__all__ = ["load_language_model", "load_own_class", "load_step_model"]


def load_language_model(checkpoint: Checkpoint) -> Any:
    """Return a language model on its device, in eval mode.

    Args:
        checkpoint: opened; its template was checked by whoever opened it.

    Raises:
        ScorerError: it is no language model, or cannot be loaded whole.
    """
    import transformers

    architectures = checkpoint.config.architectures or []
    is_pair = bool(getattr(checkpoint.config, "is_encoder_decoder", False))
    wanted = ("ConditionalGeneration",) if is_pair else ("CausalLM", "LMHead")
    if not any(word in name for name in architectures for word in wanted):
        raise ScorerError(
            f"{checkpoint.place}: its architecture is {', '.join(architectures) or 'unknown'}, no"
            " language model; give the model itself, or score it as a reward model"
        )
    return _load(
        checkpoint,
        transformers.AutoModelForSeq2SeqLM if is_pair else transformers.AutoModelForCausalLM,
    )


def load_own_class(checkpoint: Checkpoint) -> Any:
    """Return a model of the class that ``auto_map`` names, on its device, in eval mode.

    Raises:
        ScorerError: it names none, or the model cannot be loaded whole.
    """
    if not getattr(checkpoint.config, "auto_map", None):
        raise ScorerError(
            f"{checkpoint.place}: config.json names no code of its own (auto_map), so that there is"
            " no method to ask; leave method: out"
        )
    return _load(checkpoint, choose_class(checkpoint.config))


def load_step_model(checkpoint: Checkpoint, *, is_language_model: bool) -> Any:
    """Return a model that has outputs for every token, on its device, in eval mode.

    Args:
        checkpoint: opened.
        is_language_model: whether its outputs are those of a vocabulary.

    Raises:
        ScorerError: it has none, or cannot be loaded whole.
    """
    import transformers

    if is_language_model:
        return load_language_model(checkpoint)
    architectures = checkpoint.config.architectures or []
    mapped = getattr(checkpoint.config, "auto_map", None) or {}
    for name in ("AutoModelForTokenClassification", "AutoModel"):
        if name in mapped:  # its code is trusted by now
            return _load(checkpoint, getattr(transformers, name))
    if any("TokenClassification" in name for name in architectures):
        return _load(checkpoint, transformers.AutoModelForTokenClassification)
    return _with_head_for_steps(checkpoint)


class Stepwise(Headed):
    """A backbone and a head that is read at every token."""

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        use_cache: bool = False,
    ) -> Any:
        """Return logits of shape (B, T, K) for token ids of shape (B, T)."""
        from transformers.modeling_outputs import TokenClassifierOutput

        output = self.backbone(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=use_cache
        )
        return TokenClassifierOutput(logits=self.reward_head(output.last_hidden_state))


def _with_head_for_steps(checkpoint: Checkpoint) -> Any:
    """Return a backbone with the head that stands beside it in the weights.

    Raises:
        ScorerError: there is none.
    """
    options = checkpoint.options
    if checkpoint.commit is not None:
        fetch_weights(checkpoint.name, checkpoint.commit, pickle=options.trust_pickle)
    stored = read_stored(checkpoint.folder, pickle=options.trust_pickle)
    device = choose_device(options.device)
    try:
        network = load_headed(checkpoint, stored, dtype=choose_dtype(options.dtype, device))
    except ScorerError as error:
        seen = str(error).rpartition("; ")[0] or str(error)
        raise ScorerError(
            f"{seen}; a process reward model has outputs for every token: of a language model give"
            " -o tokens=GOOD,BAD"
        ) from None
    with foreign(checkpoint.place, "model"):
        stepwise = Stepwise(network.backbone, network.reward_head).to(device).eval()
    if options.dtype in QUANTISED:
        quantise(stepwise, options.dtype, checkpoint.place)
    return stepwise


def _load(checkpoint: Checkpoint, loader: Any) -> Any:
    options = checkpoint.options
    if checkpoint.commit is not None:
        fetch_weights(checkpoint.name, checkpoint.commit, pickle=options.trust_pickle)
    read_stored(checkpoint.folder, pickle=options.trust_pickle)  # refuses what is not whole
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device)
    network, loading = from_pretrained(checkpoint, loader, dtype=dtype)
    check_loading(loading, checkpoint.place)
    if options.device_map is None:
        with foreign(checkpoint.place, "model"):
            network = network.to(device)
    if options.dtype in QUANTISED:
        quantise(network.eval(), options.dtype, checkpoint.place)
    return network.eval()
