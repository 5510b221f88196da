"""Models with code of their own, in the layouts of their authors: written again, for the tests.

Each has the parts, the names and the outputs of its family's code. The file is copied beside a
model's weights and named by ``auto_map``, as on the Hub.
"""

# ruff: noqa: ANN001, ANN003, ANN201, ANN204
# mypy: ignore-errors
import torch
from torch import nn
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutputWithPast, TokenClassifierOutput

OBJECTIVES, QUANTILES, ATTRIBUTES = 19, 5, 5
OPENING = [62, 68, 86, 86, 76, 86, 87, 68, 81, 87, 64]  # [assistant], a byte a token


class Decoder(LlamaPreTrainedModel):
    """A Llama decoder of which the subclasses read states."""

    def __init__(self, config):
        super().__init__(config)
        self.model = LlamaModel(config)

    def states(self, input_ids, attention_mask=None):
        """Return all states, (B, T, H), and those of the last attended tokens, (B, H)."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        hidden = self.model(input_ids=input_ids, attention_mask=mask).last_hidden_state
        ends = mask.cumsum(-1).argmax(-1)
        return hidden, hidden[torch.arange(len(ends)), ends]


def gate_place(ids):
    """Return where the answer opens; ArmoRM's code raises where nothing does."""
    places = [i for i in range(len(ids)) if ids[i : i + len(OPENING)] == OPENING]
    if not places:
        raise ValueError("Token pattern not found in the list.")
    return places[-1]


class GatedRewardModel(Decoder):
    """ArmoRM: objectives at the last token, weighed by a gate where the answer opens; (B,)."""

    def __init__(self, config):
        super().__init__(config)
        self.regression_layer = nn.Linear(config.hidden_size, OBJECTIVES, bias=False)
        self.reward_transform_matrix = nn.Parameter(torch.zeros(OBJECTIVES, OBJECTIVES))
        self.gating = nn.Sequential(
            nn.Linear(config.hidden_size, 16), nn.ReLU(), nn.Linear(16, OBJECTIVES)
        )
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        """Return logits = score, (B,)."""
        hidden, last = self.states(input_ids, attention_mask)
        places = [gate_place(ids) for ids in input_ids.tolist()]
        gate = self.gating(hidden[torch.arange(len(places)), places]).softmax(-1)
        rewards = self.regression_layer(last) @ self.reward_transform_matrix
        output = SequenceClassifierOutputWithPast(logits=(gate * rewards).sum(-1))
        output.score = output.logits
        return output


class QuantileRewardModel(Decoder):
    """QRM: quantiles of each objective, gated, their mean; (B, 1)."""

    def __init__(self, config):
        super().__init__(config)
        self.regression_layer = nn.Linear(config.hidden_size, OBJECTIVES * QUANTILES, bias=False)
        self.gating = nn.Linear(config.hidden_size, OBJECTIVES)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        """Return logits, (B, 1)."""
        hidden, last = self.states(input_ids, attention_mask)
        places = [gate_place(ids) for ids in input_ids.tolist()]
        gate = self.gating(hidden[torch.arange(len(places)), places]).softmax(-1)
        rewards = self.regression_layer(last).reshape(-1, OBJECTIVES, QUANTILES)
        score = (gate[:, :, None] * rewards).sum(1).mean(-1, keepdim=True)
        return SequenceClassifierOutputWithPast(logits=score)


class UncertainRewardModel(Decoder):
    """URM: mean and deviation of each attribute, then a gate over the means; (B, 1)."""

    def __init__(self, config):
        super().__init__(config)
        self.score = nn.Linear(config.hidden_size, 2 * ATTRIBUTES)
        self.gating = nn.Linear(config.hidden_size, ATTRIBUTES)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        """Return logits, (B, 1)."""
        _, last = self.states(input_ids, attention_mask)
        means = self.score(last)[:, :ATTRIBUTES]
        gate = self.gating(last).softmax(-1)
        return SequenceClassifierOutputWithPast(logits=(gate * means).sum(-1, keepdim=True))


class InternLM2Config(LlamaConfig):
    """A type of model that transformers does not know."""

    model_type = "internlm2"

    def __init__(self, reward_token_id=1, **settings):
        self.reward_token_id = reward_token_id
        super().__init__(**settings)


class InternLM2ForRewardModel(Decoder):
    """InternLM2-Reward: a head at the token that is put behind the conversation."""

    config: InternLM2Config
    config_class = InternLM2Config

    def __init__(self, config):
        super().__init__(config)
        self.v_head = nn.Linear(config.hidden_size, 1, bias=False)
        self.reward_token_id = config.reward_token_id
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        """Return logits, (B, 1)."""
        _, last = self.states(input_ids, attention_mask)
        return SequenceClassifierOutputWithPast(logits=self.v_head(last))

    @torch.no_grad()
    def get_score(self, tokenizer, conversation):
        """Return the reward of one conversation."""
        text = tokenizer.apply_chat_template(conversation, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if ids[-1] != self.reward_token_id:
            ids = [*ids, self.reward_token_id]
        return float(self(torch.tensor([ids], device=self.device)).logits[0, 0])


class MethodRewardModel(Decoder):
    """A model whose forward gives states, and whose rewards come from a method alone."""

    def __init__(self, config):
        super().__init__(config)
        self.value = nn.Linear(config.hidden_size, 1)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        """Return what the decoder returns."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask)

    @torch.no_grad()
    def get_score(self, tokenizer, conversation):
        """Return the reward of one conversation."""
        text = tokenizer.apply_chat_template(conversation, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        _, last = self.states(torch.tensor([ids], device=self.device))
        return float(self.value(last)[0, 0])


class BareRewardModel(Decoder):
    """Eurus and UltraRM: the reward without anything around it, (B, 1)."""

    def __init__(self, config):
        super().__init__(config)
        self.regression_head = nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        """Return a bare tensor, (B, 1)."""
        return self.regression_head(self.states(input_ids, attention_mask)[1])


class FlatRewardModel(BareRewardModel):
    """Ziya: the same, (B,)."""

    def forward(self, input_ids, attention_mask=None, **_):
        """Return a bare tensor, (B,)."""
        return super().forward(input_ids, attention_mask)[:, 0]


class RegularisedRewardModel(Decoder):
    """GRM-sftreg: the value of a two-layer head, beside what else its forward computes."""

    def __init__(self, config):
        super().__init__(config)
        self.v_head = nn.Module()
        self.v_head.summary = nn.Sequential(
            nn.Linear(config.hidden_size, 16), nn.ReLU(), nn.Linear(16, 1)
        )
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        """Return a tuple with the value, (B,)."""
        return (self.v_head.summary(self.states(input_ids, attention_mask)[1])[:, 0],)


class TwoLayerRewardModel(Decoder):
    """Qwen2.5-Math-RM and WorldPM: two layers at the last token."""

    def __init__(self, config):
        super().__init__(config)
        width = config.hidden_size
        self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        """Return logits, (B, 1)."""
        _, last = self.states(input_ids, attention_mask)
        return SequenceClassifierOutputWithPast(logits=self.score(last))


class ProcessRewardModel(Decoder):
    """Qwen2.5-Math-PRM: two classes at every token."""

    def __init__(self, config):
        super().__init__(config)
        width = config.hidden_size
        self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **_):
        """Return logits, (B, T, 2)."""
        hidden, _ = self.states(input_ids, attention_mask)
        return TokenClassifierOutput(logits=self.score(hidden))
