"""Typed, documented and frozen options of a run: read from YAML or `--set a.b=c`, saved as JSON in the run directory.

An option that says `auto` is resolved from the size of the data by `deftrec.recipe.resolve` before anything is built;
the run directory holds the resolved values.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deftrec.data.split import SplitName
from deftrec.sizes import Size

Auto: TypeAlias = Literal["auto"]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Rate: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Weight: TypeAlias = Annotated[float, Field(ge=0)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]

SOFTMAX_FACTOR = 3
"""Catalogues with more than this many times `objective.sampled_items` items use the sampled softmax."""


class Options(BaseModel):
    """Base of every group of options: frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataOptions(Options):
    """Split of the interactions and length of the histories."""

    split: SplitName = Field(
        "leave-one-out",
        description="Division into train, validation and test: each user's last two interactions (leave-one-out), or "
        "two points in time (temporal).",
    )
    max_history: Count | Auto = Field(
        "auto",
        description="Largest number of items the language model reads from one history, at least 1. Older items are "
        "dropped. auto: 64 to 200, by the mean history length.",
    )


class CollaborativeOptions(Options):
    """Item vectors computed from the training interactions."""

    encoder: Literal["lightgcn", "spectral", "none", "auto"] = Field(
        "auto",
        description="Method: LightGCN (He et al. 2020), which is trained; spectral, a truncated SVD of the graph in "
        "closed form; or no collaborative vectors (none). auto: spectral at size small, else lightgcn.",
    )
    dim: Count = Field(64, description="Width of the vectors.")
    layers: Annotated[int, Field(ge=0, le=8)] = Field(3, description="Number of LightGCN propagation layers, 0 to 8.")
    l2: Weight = Field(1e-4, description="Weight of the squared norm of a batch's vectors in the LightGCN loss.")
    batch_size: Count | Auto = Field("auto", description="Number of positive interactions per LightGCN step.")
    epochs: Count | Auto = Field("auto", description="Largest number of LightGCN epochs; validation stops earlier.")


class TextOptions(Options):
    """Sentence vectors of each item's title, category and text."""

    model: str | None = Field(
        "minilm",
        description="Sentence model: minilm (all-MiniLM-L6-v2, packaged, works offline), a local folder, or a hub id. "
        "null: no text vectors.",
    )
    max_tokens: Count = Field(64, description="Largest number of tokens read from one item's text.")


class TokenizerOptions(Options):
    """Robust tokenizer: masking, then K additive encoders (DeftRec, section on robust tokenization)."""

    ways: Count = Field(1, description="K, the number of continuous tokens per item, at least 1.")
    hidden: Count = Field(256, description="Hidden width of each encoder's perceptron.")
    dropout: Rate = Field(0.1, description="Dropout rate inside each encoder's perceptron, 0 to 1.")
    mask_features: Rate = Field(
        0.0, description="Share of single features replaced by a learned value during training, 0 to 1."
    )
    drop_collaborative: Rate | Auto = Field(
        "auto",
        description="Share of items whose collaborative features are set to zero during training, 0 to 1. Values "
        "above 0 teach the model to recommend new items from text alone.",
    )
    noise: Weight = Field(
        0.0,
        description="Standard deviation of the random noise scale of a token during training (sigma-VAE), at least 0.",
    )
    trainable_features: bool | Auto = Field(
        "auto", description="Whether training updates the item features, starting from their computed values."
    )
    users: Literal["none", "folded", "auto"] = Field(
        "auto",
        description="User tokens: none, or computed from the mean features of the history (folded). auto: folded "
        "where histories are long.",
    )


class NanoOptions(Options):
    """A small causal transformer, trained from scratch."""

    kind: Literal["nano"] = Field(
        "nano", description="Language model: nano, a small transformer trained from scratch. Other kind: pretrained."
    )
    width: Count | Auto = Field("auto", description="Width of tokens and hidden states, a multiple of 4.")
    layers: Count | Auto = Field("auto", description="Number of transformer blocks.")
    dropout: Rate | Auto = Field("auto", description="Dropout rate of the transformer, 0 to 1.")

    @model_validator(mode="after")
    def _divisible(self) -> "NanoOptions":
        if self.width != "auto" and self.width % 4:
            raise ValueError(f"width {self.width} must be a multiple of 4: two attention heads of even width")
        return self


class ReasoningOptions(Options):
    """Rationales: short texts about the user's preference, generated by the language model (reasoning content)."""

    weight: Weight = Field(
        0.0, description="Weight of the rationale's language-model loss; 0.1 as published. 0: no rationales."
    )
    max_tokens: Count = Field(24, description="Largest number of tokens of one rationale.")
    source: Literal["gold", "generated", "history"] = Field(
        "generated",
        description="Rationale used as the condition during training: the correct one (gold), the model's own "
        "(generated), or the correct one without its guess of the next item (history).",
    )
    alone_epochs: Annotated[int, Field(ge=0)] = Field(
        0, description="Number of epochs that train rationales alone, before joint training."
    )


class PretrainedOptions(Options):
    """A pre-trained Hugging Face model that reads continuous tokens among words."""

    kind: Literal["pretrained"] = Field(
        "pretrained", description="Language model: pretrained, a Hugging Face model. Other kind: nano."
    )
    model: str = Field(
        "minilm", description="Model: minilm (all-MiniLM-L6-v2, packaged, works offline), a local folder, or a hub id."
    )
    revision: str | None = Field(None, description="Revision on the hub. null: the newest one.")
    tuning: Literal["frozen", "full", "lora", "nf4"] = Field(
        "full",
        description="Trained weights of the model: none (frozen), all (full), LoRA adapters (lora), or LoRA adapters "
        "on 4-bit weights (nf4; needs a GPU and the nf4 extra).",
    )
    layers: Count | None = Field(None, description="Number of lowest blocks that are kept, for speed. null: all.")
    lora_rank: Count = Field(16, description="Rank of the LoRA adapters, which stand beside every linear layer.")
    lora_alpha: Positive = Field(32.0, description="Scale of the LoRA adapters before division by their rank.")
    dropout: Rate = Field(0.1, description="Dropout rate of the model and its adapters, 0 to 1.")
    dtype: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Type of the weights that are not trained. auto: bf16 where the model's files hold it, else fp32.",
    )
    gradient_checkpointing: bool = Field(
        False,
        description="Whether the backward pass recomputes activations: a third more computation, far less memory.",
    )
    prompts: tuple[str, ...] = Field(
        (),
        description="Prompts that end with {history}; {domain} is the dataset's kind of items. Training draws one per "
        "batch, evaluation uses the first. Empty: the ten of deftrec.language.prompts.",
    )
    chat: bool | Auto = Field(
        "auto", description="Whether prompts use the model's chat format. auto: if its tokenizer has a chat template."
    )
    titles: Annotated[int, Field(ge=0)] = Field(
        0, description="Largest number of title tokens read before each item's continuous tokens. 0: no titles."
    )
    max_tokens: Count | None = Field(
        None,
        description="Largest number of prompt and history tokens; the oldest items are dropped. null: the model's "
        "own limit.",
    )
    condition: Literal["latent", "reasoning"] = Field(
        "latent",
        description="Condition of the denoising: the hidden state after the history (latent), or that state plus the "
        "pooled states of the generated rationale (reasoning).",
    )
    reasoning: ReasoningOptions = ReasoningOptions()

    @model_validator(mode="after")
    def _trains_fp32_weights(self) -> "PretrainedOptions":
        if self.tuning == "full" and self.dtype == "bf16":
            raise ValueError(
                "dtype bf16 applies to weights that are not trained, and tuning full trains all of them: bf16 is too "
                "coarse for its steps; leave dtype at auto, or set tuning to lora"
            )
        return self

    @model_validator(mode="after")
    def _has_history(self) -> "PretrainedOptions":
        for prompt in self.prompts:
            if not prompt.endswith("{history}") or prompt.count("{history}") != 1:
                raise ValueError(
                    "prompts must end with the placeholder {history}, once each: no position may read past its target"
                )
            try:
                prompt.format(domain="", history="")
            except (LookupError, ValueError):
                raise ValueError("prompts know the placeholders {domain} and {history}; write {{ for a brace") from None
        return self

    @model_validator(mode="after")
    def _learns_to_reason(self) -> "PretrainedOptions":
        if self.condition == "reasoning" and not self.reasoning.weight:
            raise ValueError("condition reasoning needs rationales: set reasoning.weight above 0 (0.1 as published)")
        return self


LanguageOptions: TypeAlias = Annotated[NanoOptions | PretrainedOptions, Field(discriminator="kind")]


class DiffusionOptions(Options):
    """Denoising diffusion of the next item's latent under the condition."""

    schedule: Literal["cosine", "linear"] = Field("cosine", description="Noise schedule.")
    prediction: Literal["x0", "eps"] = Field(
        "x0", description="Output of the denoiser: the clean latent (x0) or the noise (eps)."
    )
    width: Count = Field(128, description="Hidden width of the denoiser.")
    depth: Count = Field(2, description="Number of blocks of the denoiser.")
    pure_noise_share: Share = Field(
        0.75, description="Share of training targets denoised from pure noise (t = 1), 0 to 1; other times are uniform."
    )
    condition_dropout: Rate = Field(
        0.0, description="Share of conditions replaced by a learned empty one during training, 0 to 1, for guidance."
    )
    sampler: Literal["ddim", "ddpm"] = Field(
        "ddim", description="Sampling method: deterministic (ddim) or ancestral (ddpm)."
    )
    steps: Count = Field(1, description="Number of denoising steps per sample.")
    samples: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Number of noise draws whose denoised latents are averaged. 0: one sample from the mean of the "
        "noise, without randomness where the sampler is ddim.",
    )
    guidance_scale: Weight = Field(
        0.0,
        description="Strength w of classifier-free guidance, (1 + w) x conditional - w x unconditional. 0: none.",
    )

    @model_validator(mode="after")
    def _trains_empty_condition(self) -> "DiffusionOptions":
        if self.guidance_scale and not self.condition_dropout:
            raise ValueError("guidance_scale needs condition_dropout above 0: nothing else trains the empty condition")
        return self


class ObjectiveOptions(Options):
    """Loss of the denoised latent: denoising error of the next item, and a term that uses negative items."""

    negatives: Literal["none", "pairwise", "preference", "softmax"] = Field(
        "softmax",
        description="Use of negatives: none, pairwise errors (DeftRec), preference over the negatives' centroid "
        "(PreferDiff), or a softmax over the catalogue.",
    )
    temperature: Positive = Field(
        0.07, description="Temperature of the softmax, of the preference term and of the retrieval score, above 0."
    )
    negatives_per_target: Count = Field(
        16, description="Number of negatives drawn per target by the pairwise and preference terms."
    )
    error_weight: Weight = Field(0.2, description="Weight of the squared denoising error, at least 0.")
    mask_seen: bool | Auto = Field(
        "auto",
        description="Whether items of the user's history are left out of the negatives. auto: true if retrieval.seen "
        "is exclude or repeated interactions are rare.",
    )
    sampled_items: Count = Field(
        16_384,
        description="Number of random items per step of the sampled softmax with logQ correction, which replaces the "
        "full softmax for catalogues of more than three times this many items.",
    )

    @property
    def full_softmax_limit(self) -> int:
        """Largest catalogue, in items, whose softmax covers every item."""
        return SOFTMAX_FACTOR * self.sampled_items


class TrainingOptions(Options):
    """Joint training of tokenizer, language model and diffusion."""

    ensemble_size: Count | Auto = Field(
        "auto", description="Number of models trained with different seeds whose scores are averaged."
    )
    learning_rate: Positive | Auto = Field("auto", description="Peak learning rate of AdamW.")
    language_learning_rate_factor: Positive = Field(
        1.0, description="Learning rate of a pre-trained language model as a multiple of training.learning_rate."
    )
    batch_positions: Count | Auto = Field("auto", description="Number of history positions per batch.")
    accumulation: Count = Field(1, description="Number of batches whose gradients are added before an optimiser step.")
    epochs: Count | Auto = Field("auto", description="Largest number of passes over the training interactions.")
    minutes: Positive | None = Field(
        None,
        description="Time limit of the joint stage in minutes; training stops after the epoch in which it is reached. "
        "null: no limit. A refit has no limit.",
    )
    weight_decay: Weight = Field(0.01, description="AdamW weight decay of matrices, at least 0.")
    sharded: bool = Field(
        False,
        description="Whether the processes of a launch share weights, gradients and optimiser state (FSDP) instead of "
        "holding copies.",
    )
    average: Rate = Field(
        0.99,
        description="Decay per step of the averaged weights, which are validated and kept, 0 to 1. 0: no averaging.",
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="Type of matrix products in training. auto: bf16 if the hardware multiplies it, else fp32."
    )
    checkpoint_seconds: Weight = Field(
        20.0, description="Least time between two checkpoints in seconds. 0: a checkpoint after every epoch."
    )

    @property
    def patience(self) -> int:
        """Number of epochs without a better validation NDCG@10 before training stops: a quarter, at least 4."""
        return max(4, int(self.epochs) // 4)


class FineTuningOptions(Options):
    """Training that continues from a finished run (`deftrec train --from`)."""

    epochs: Count = Field(3, description="Largest number of passes over the new data; validation chooses among them.")
    learning_rate_factor: Positive = Field(
        0.2, description="Peak learning rate as a multiple of training.learning_rate."
    )


class RetrievalOptions(Options):
    """Score terms added to the similarity of the generated latent, and the treatment of seen items."""

    seen: Literal["exclude", "keep"] = Field(
        "exclude",
        description="Items of the user's history in training, validation and recommendations: excluded from the "
        "candidates, or kept as candidates.",
    )
    prior: Literal["any", "ease", "slit", "graph", "none"] = Field(
        "any",
        description="Linear collaborative prior: EASE (Steck 2019), SLIT (Choi et al. 2021), the graph filter of "
        "GF-CF (Shen et al. 2021), the best of the three on validation (any), or none. Validation chooses its weight.",
    )
    prior_max_items: Count = Field(
        20_000, description="Number of most popular items covered by the prior; bounds its memory and time."
    )
    trend: bool = Field(
        True,
        description="Whether a weighted sum of log popularity and log recent popularity is added to the score. "
        "Validation chooses the weights.",
    )
    cold_start_cost: Rate = Field(
        0.005,
        description="Largest share of validation NDCG@10, 0 to 1, given up for the bonus of items added after "
        "training. 0: no bonus.",
    )


class Config(Options):
    """All options of one run."""

    seed: Annotated[int, Field(ge=0)] = Field(0, description="Seed of every random draw, at least 0.")
    size: Size = Field(
        "auto",
        description="Size of the model: decides width, layers, epochs and ensemble size where they say auto. small: a "
        "first result in minutes; medium: one model; large: a wider and larger ensemble; auto: the values measured at "
        "this size of the data (saved as medium).",
    )
    data: DataOptions = DataOptions()
    collaborative: CollaborativeOptions = CollaborativeOptions()
    text: TextOptions = TextOptions()
    tokenizer: TokenizerOptions = TokenizerOptions()
    language: LanguageOptions = NanoOptions()
    diffusion: DiffusionOptions = DiffusionOptions()
    objective: ObjectiveOptions = ObjectiveOptions()
    training: TrainingOptions = TrainingOptions()
    fine_tuning: FineTuningOptions = FineTuningOptions()
    retrieval: RetrievalOptions = RetrievalOptions()

    @property
    def repeats(self) -> bool:
        """Whether seen items are ordinary candidates: `retrieval.seen` is keep and they are used as negatives."""
        return self.retrieval.seen == "keep" and not self.objective.mask_seen

    @property
    def seen_last(self) -> bool:
        """Whether seen items are ranked after all others: `retrieval.seen` is keep, but repeats are rare."""
        return self.retrieval.seen == "keep" and not self.repeats

    @model_validator(mode="after")
    def _has_features(self) -> "Config":
        if self.collaborative.encoder == "none" and self.text.model is None:
            raise ValueError("items have no vectors: collaborative.encoder is none and text.model is null")
        return self

    @model_validator(mode="after")
    def _can_be_sharded(self) -> "Config":
        language = self.language
        if self.training.sharded and isinstance(language, PretrainedOptions):
            if language.tuning == "nf4":
                raise ValueError("training.sharded cannot split 4-bit weights: set language.tuning to lora")
            if language.condition == "reasoning" and language.reasoning.source == "generated":
                raise ValueError(
                    "training.sharded needs rationales of one length in all processes: set language.reasoning.source "
                    "to gold or history"
                )
        return self
