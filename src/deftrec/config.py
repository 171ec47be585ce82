"""Typed, documented and frozen options of a run: read from YAML or `--set a.b=c`, saved as JSON in the run directory.

`deftrec.recipe.resolve` replaces `auto` by a value for the size of the data; the run directory holds these values.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from deftrec.data.kinds import EventRoles, Role
from deftrec.data.split import SplitName
from deftrec.sizes import Size

Auto: TypeAlias = Literal["auto"]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Rate: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]
Natural: TypeAlias = Annotated[int, Field(ge=0)]
Weight: TypeAlias = Annotated[float, Field(ge=0)]
Positive: TypeAlias = Annotated[float, Field(gt=0)]

STATEMENT_TOKENS = 40  # largest number of tokens of a reasoner's statement

SOFTMAX_FACTOR = 3  # catalogues with more than this many times `objective.sampled_items` items use the sampled softmax


class Options(BaseModel):
    """Base of every group of options: frozen; an unknown key is an error. Docstrings below options describe them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class KindOptions(Options):
    """Use of one kind of event; its role alone stands for all of it."""

    role: Role
    """Role: target (may be recommended and predicted), context (read, never predicted), negative (disliked: read as
    such, never predicted) or ignored."""
    weight: Weight = 1.0
    """Weight in the objective of targets of this kind, at least 0."""

    @model_validator(mode="before")
    @classmethod
    def _is_a_role(cls, value: object) -> object:
        return {"role": value} if isinstance(value, str) else value


class DataOptions(Options):
    """Roles of the interactions, their split, and length of the histories."""

    kinds: dict[str, KindOptions] = {}
    """Role of each kind of event, such as {view: context, purchase: target}, or {role: target, weight: 2}. Kinds that
    are not named get the default of their name."""
    target_from: float | None = None
    """Smallest value (rating, amount) of a target; interactions with lower ones are read alone. null: any value."""
    negative_to: float | None = None
    """Largest value of an interaction that shows a dislike; it is read as such and never recommended. null: none."""
    value_weight: Weight = 0.0
    """Exponent p of the weight (value / mean value)^p of a target in the objective, at least 0. 0: all weigh the
    same."""

    split: SplitName = "leave-one-out"
    """Division into train, validation and test: each user's last two targets (leave-one-out), or two points in
    time (temporal)."""
    max_history: Count | Auto = "auto"
    """Largest number of items the language model reads from one history, at least 1. Older items are dropped. auto: 64
    to 200, by the mean history length."""

    @property
    def roles(self) -> EventRoles:
        """How interactions are used."""
        kinds = {kind: (one.role, one.weight) for kind, one in self.kinds.items()}
        return EventRoles(kinds, self.target_from, self.negative_to, self.value_weight)

    @model_validator(mode="after")
    def _thresholds_are_apart(self) -> "DataOptions":
        low, high = self.negative_to, self.target_from
        if low is not None and high is not None and low >= high:
            raise ValueError(f"negative_to is {low:g}, and target_from is {high:g}: give a lower negative_to")
        return self


class CollaborativeOptions(Options):
    """Item vectors computed from the training interactions."""

    encoder: Literal["lightgcn", "spectral", "none", "auto"] = "auto"
    """Method: LightGCN (He et al. 2020), which is trained; spectral, a truncated SVD of the graph in closed form; or no
    collaborative vectors (none). auto: spectral at size small, else lightgcn."""
    dim: Count = 64
    """Width of the vectors."""
    layers: Annotated[int, Field(ge=0, le=8)] = 3
    """Number of LightGCN propagation layers, 0 to 8."""
    l2: Weight = 1e-4
    """Weight of the squared norm of a batch's vectors in the LightGCN loss."""
    batch_size: Count | Auto = "auto"
    """Number of positive interactions per LightGCN step."""
    epochs: Count | Auto = "auto"
    """Largest number of LightGCN epochs; validation stops earlier."""


class TextOptions(Options):
    """Sentence vectors of each item's title, category and text."""

    model: str | None = "minilm"
    """Sentence model: minilm (all-MiniLM-L6-v2, packaged, works offline), a local folder, or a hub id. null: no text
    vectors."""
    max_tokens: Count = 64
    """Largest number of tokens read from one item's text."""


class TokenizerOptions(Options):
    """Robust tokenizer: masking, then K additive encoders (DeftRec, section on robust tokenization)."""

    ways: Count = 1
    """K, the number of parallel encoders, at least 1."""
    positions: Literal["each", "one"] = "each"
    """Positions of the K encoders' outputs: one for each, which makes K continuous tokens per item, or one for their
    sum."""
    hidden: Count = 256
    """Hidden width of each encoder's perceptron."""
    dropout: Rate = 0.1
    """Dropout rate inside each encoder's perceptron, 0 to 1."""
    mask_features: Rate = 0.0
    """Share of single features replaced by a learned value during training, 0 to 1."""
    drop_collaborative: Rate | Auto = "auto"
    """Share of items whose collaborative features are set to zero during training, 0 to 1. Values above 0 teach the
    model to recommend new items from text alone."""
    drop_text: Rate = 0.0
    """Share of items whose text features are set to zero during training, of those that keep the collaborative ones, 0
    to 1. Values above 0 teach the model to do without text."""
    drop_attributes: Rate = 0.1
    """Share of items whose attributes are set to zero during training, where the data have attributes, 0 to 1."""
    noise: Weight = 0.0
    """Standard deviation of the random noise scale of a token during training (sigma-VAE), at least 0."""
    trainable_features: bool | Auto = "auto"
    """Whether training updates the item features, starting from their computed values."""
    kinds: bool = True
    """Whether the kind of each event is added to its item's tokens, where the data have kinds."""
    values: bool | Auto = "auto"
    """Whether the value of each event (rating, amount) is added to its item's tokens. auto: where the data have values
    and they decide roles or weights."""
    gaps: bool = False
    """Whether the time since the event before is added to each item's tokens, where times are known."""
    request_time: bool = False
    """Whether the time between the last event and the request is added to the condition, where times are known."""
    users: Literal["none", "folded", "auto"] = "auto"
    """User tokens: none, or computed from the mean features of the history (folded). auto: folded where histories are
    long."""

    @property
    def tokens(self) -> int:
        """Number of continuous tokens per item."""
        return self.ways if self.positions == "each" else 1


class NanoOptions(Options):
    """A small causal transformer, trained from scratch."""

    kind: Literal["nano"] = "nano"
    """Language model: nano, a small transformer trained from scratch. Other kind: pretrained."""
    width: Annotated[int, Field(ge=4, multiple_of=4)] | Auto = "auto"
    """Width of tokens and hidden states, a multiple of 4: two attention heads of even width."""
    layers: Count | Auto = "auto"
    """Number of transformer blocks."""
    dropout: Rate | Auto = "auto"
    """Dropout rate of the transformer, 0 to 1."""
    relative_time: bool = False
    """Whether attention has a learned bias on the time between two events, where times are known."""


class ReasoningOptions(Options):
    """Rationales: short texts about the user's preference, generated by the language model (reasoning content)."""

    weight: Weight = 0.0
    """Weight of the rationale's language-model loss; 0.1 as published. 0: no rationales."""
    max_tokens: Count = 24
    """Largest number of tokens of one rationale."""
    source: Literal["gold", "generated", "history"] = "generated"
    """Rationale used as the condition during training: the correct one (gold), the model's own (generated), or the
    correct one without its guess of the next item (history)."""
    alone_epochs: Natural = 0
    """Number of epochs that train rationales alone, before joint training."""


class PretrainedOptions(Options):
    """A pre-trained Hugging Face model that reads continuous tokens among words."""

    kind: Literal["pretrained"] = "pretrained"
    """Language model: pretrained, a Hugging Face model. Other kind: nano."""
    model: str = "minilm"
    """Model: minilm (all-MiniLM-L6-v2, packaged, works offline), a local folder, or a hub id."""
    revision: str | None = None
    """Revision on the hub. null: the newest one."""
    tuning: Literal["frozen", "full", "lora", "nf4"] = "full"
    """Trained weights of the model: none (frozen), all (full), LoRA adapters (lora), or LoRA adapters on 4-bit weights
    (nf4; needs a GPU and the nf4 extra)."""
    layers: Count | None = None
    """Number of lowest blocks that are kept, for speed. null: all."""
    tuned_layers: Count | None = None
    """Number of highest blocks that LoRA adapters are added to; the gradient stops below them. null: all."""
    lora_rank: Count = 16
    """Rank of the LoRA adapters, which stand beside every linear layer."""
    lora_alpha: Positive = 32.0
    """Scale of the LoRA adapters before division by their rank."""
    dropout: Rate = 0.1
    """Dropout rate of the model and its adapters, 0 to 1."""
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    """Type of the weights that are not trained. auto: bf16 where the model's files hold it, else fp32."""
    gradient_checkpointing: bool = False
    """Whether the backward pass recomputes activations: a third more computation, far less memory."""
    prompts: tuple[str, ...] = ()
    """Prompts that end with {history}; {domain} is the dataset's kind of items. Training draws one per batch,
    evaluation uses the first. Empty: the ten of deftrec.language.prompts."""
    chat: bool | Auto = "auto"
    """Whether prompts use the model's chat format. auto: if its tokenizer has a chat template."""
    titles: Natural = 0
    """Largest number of title tokens read before each item's continuous tokens. 0: no titles."""
    max_tokens: Count | None = None
    """Largest number of prompt and history tokens; the oldest items are dropped. null: the model's own limit."""
    condition: Literal["latent", "reasoning"] = "latent"
    """Condition of the denoising: the hidden state after the history (latent), or that state plus the pooled states of
    the generated rationale (reasoning)."""
    reasoning: ReasoningOptions = ReasoningOptions()

    @model_validator(mode="after")
    def _is_consistent(self) -> "PretrainedOptions":
        if self.tuning == "full" and self.dtype == "bf16":
            raise ValueError(
                "dtype bf16 applies to weights that are not trained, and tuning full trains all of them: bf16 is too "
                "coarse for its steps; leave dtype at auto, or set tuning to lora"
            )
        if self.condition == "reasoning" and not self.reasoning.weight:
            raise ValueError("condition reasoning needs rationales: set reasoning.weight above 0 (0.1 as published)")
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


class ReasonerOptions(Options):
    """A generative language model beside the small one; its hidden states and statements add to the condition."""

    model: str = "smollm2"
    """Model: smollm2 (SmolLM2-135M-Instruct, packaged, works offline), a local folder, a GGUF file, or a hub id."""
    tuned_layers: Count = 10
    """Number of highest blocks with LoRA adapters, which learn to write statements. Hidden states come from the blocks
    below."""
    history: Annotated[int, Field(ge=2)] = 8
    """Largest number of items it reads, the newest ones, at least 2."""
    titles: Natural = 12
    """Largest number of tokens of each item's title and categories that it reads before its continuous tokens."""
    ways: Count = 2
    """K, the number of continuous tokens per item and per user that it reads, at least 1."""
    examples: Count = 640
    """Number of histories of train whose statements it learns to write."""
    spoken: Natural = 128
    """Number of users whose statements training generates, to try whether they improve the condition. 0: none."""

    @property
    def language(self) -> PretrainedOptions:
        """The language model in the options of a pre-trained one."""
        return PretrainedOptions(
            model=self.model,
            tuning="lora",
            tuned_layers=self.tuned_layers,
            dropout=0.0,
            prompts=("A person's {domain}, oldest first: {history}",),
            chat=False,
            titles=self.titles,
            reasoning=ReasoningOptions(weight=1.0, max_tokens=STATEMENT_TOKENS),
        )


LanguageOptions: TypeAlias = Annotated[NanoOptions | PretrainedOptions, Field(discriminator="kind")]


class DiffusionOptions(Options):
    """Denoising diffusion of the next item's latent under the condition."""

    schedule: Literal["cosine", "linear"] = "cosine"
    """Noise schedule."""
    prediction: Literal["x0", "eps"] = "x0"
    """Output of the denoiser: the clean latent (x0) or the noise (eps)."""
    width: Count = 128
    """Hidden width of the denoiser."""
    depth: Count = 2
    """Number of blocks of the denoiser."""
    pure_noise_share: Share = 0.75
    """Share of training targets denoised from pure noise (t = 1), 0 to 1; other times are uniform."""
    condition_dropout: Rate = 0.0
    """Share of conditions replaced by a learned empty one during training, 0 to 1, for guidance."""
    sampler: Literal["ddim", "ddpm"] = "ddim"
    """Sampling method: deterministic (ddim) or ancestral (ddpm)."""
    steps: Count = 1
    """Number of denoising steps per sample."""
    samples: Natural = 0
    """Number of noise draws whose denoised latents are averaged. 0: one sample from the mean of the noise, without
    randomness where the sampler is ddim."""
    guidance_scale: Weight = 0.0
    """Strength w of classifier-free guidance, (1 + w) x conditional - w x unconditional. 0: none."""

    @model_validator(mode="after")
    def _trains_empty_condition(self) -> "DiffusionOptions":
        if self.guidance_scale and not self.condition_dropout:
            raise ValueError("guidance_scale needs condition_dropout above 0: nothing else trains the empty condition")
        return self


class ObjectiveOptions(Options):
    """Loss of the denoised latent: denoising error of the next item, and a term that uses negative items."""

    negatives: Literal["none", "pairwise", "preference", "softmax"] = "softmax"
    """Use of negatives: none, pairwise errors (DeftRec), preference over the negatives' centroid (PreferDiff), or a
    softmax over the catalogue."""
    temperature: Positive = 0.07
    """Temperature of the softmax, of the preference term and of the retrieval score, above 0."""
    negatives_per_target: Count = 16
    """Number of negatives drawn per target by the pairwise and preference terms."""
    error_weight: Weight = 0.2
    """Weight of the squared denoising error, at least 0."""
    disliked_weight: Weight = 1.0
    """Weight of the term that ranks items that the user dislikes below the target, where the data have negatives; at
    least 0."""
    mask_seen: bool | Auto = "auto"
    """Whether items of the user's history are left out of the negatives. auto: true if retrieval.seen is exclude or
    repeated interactions are rare."""
    sampled_items: Count = 16_384
    """Number of random items per step of the sampled softmax with logQ correction, which replaces the full softmax for
    catalogues of more than three times this many items."""

    @property
    def full_softmax_limit(self) -> int:
        """Largest catalogue, in items, whose softmax covers every item."""
        return SOFTMAX_FACTOR * self.sampled_items


class TrainingOptions(Options):
    """Joint training of tokenizer, language model and diffusion."""

    ensemble_size: Count | Auto = "auto"
    """Number of models trained with different seeds whose scores are averaged."""
    learning_rate: Positive | Auto = "auto"
    """Peak learning rate of AdamW."""
    language_learning_rate_factor: Positive = 1.0
    """Learning rate of a pre-trained language model as a multiple of training.learning_rate."""
    batch_positions: Count | Auto = "auto"
    """Number of history positions per batch."""
    accumulation: Count = 1
    """Number of batches whose gradients are added before an optimiser step."""
    epochs: Count | Auto = "auto"
    """Largest number of passes over the training interactions."""
    minutes: Positive | None = None
    """Time limit of the joint stage in minutes; training stops after the epoch in which it is reached. null: no limit.
    A refit has no limit."""
    weight_decay: Weight = 0.01
    """AdamW weight decay of matrices, at least 0."""
    sharded: bool = False
    """Whether the processes of a launch share weights, gradients and optimiser state (FSDP) instead of holding
    copies."""
    average: Rate = 0.99
    """Decay per step of the averaged weights, which are validated and kept, 0 to 1. 0: no averaging."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Type of matrix products in training. auto: bf16 if the hardware multiplies it, else fp32."""
    checkpoint_seconds: Weight = 20.0
    """Least time between two checkpoints in seconds. 0: a checkpoint after every epoch."""

    @property
    def patience(self) -> int:
        """Number of epochs without a better validation NDCG@10 before training stops: a quarter, at least 4."""
        return max(4, int(self.epochs) // 4)


class FineTuningOptions(Options):
    """Training that continues from a finished run (`deftrec train --from`)."""

    epochs: Count = 3
    """Largest number of passes over the new data; validation chooses among them."""
    learning_rate_factor: Positive = 0.2
    """Peak learning rate as a multiple of training.learning_rate."""


class RetrievalOptions(Options):
    """Score terms added to the similarity of the generated latent, and the treatment of seen items."""

    seen: Literal["exclude", "keep"] = "exclude"
    """Items of the user's history in training, validation and recommendations: excluded from the candidates, or kept as
    candidates."""
    prior: Literal["any", "ease", "slit", "graph", "none"] = "any"
    """Linear collaborative prior: EASE (Steck 2019), SLIT (Choi et al. 2021), the graph filter of GF-CF (Shen et al.
    2021), the best of the three on validation (any), or none. Validation chooses its weight."""
    prior_max_items: Count = 20_000
    """Number of most popular items covered by the prior; bounds its memory and time."""
    trend: bool = True
    """Whether a weighted sum of log popularity and log recent popularity is added to the score. Validation chooses the
    weights."""
    cold_start_cost: Rate = 0.005
    """Largest share of validation NDCG@10, 0 to 1, given up for the bonus of items added after training. 0: no
    bonus."""


class Config(Options):
    """All options of one run."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of every random draw, at least 0 and below 2^63."""
    size: Size = "auto"
    """Size of the model: decides width, layers, epochs and ensemble size where they say auto. small: a first result in
    minutes; medium: one model; large: a wider and larger ensemble; auto: the values measured at this size of the data
    (saved as medium)."""
    data: DataOptions = DataOptions()
    collaborative: CollaborativeOptions = CollaborativeOptions()
    text: TextOptions = TextOptions()
    tokenizer: TokenizerOptions = TokenizerOptions()
    language: LanguageOptions = NanoOptions()
    reasoner: ReasonerOptions | None = None
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
    def _is_consistent(self) -> "Config":
        if self.collaborative.encoder == "none" and self.text.model is None:
            raise ValueError("items have no vectors: collaborative.encoder is none and text.model is null")
        language = self.language
        if self.reasoner is not None and isinstance(language, PretrainedOptions):
            raise ValueError("a reasoner stands beside a small model: set language.kind to nano, or reasoner to null")
        if self.training.sharded and isinstance(language, PretrainedOptions):
            if language.tuning == "nf4":
                raise ValueError("training.sharded cannot split 4-bit weights: set language.tuning to lora")
            if language.condition == "reasoning" and language.reasoning.source == "generated":
                raise ValueError(
                    "training.sharded needs rationales of one length in all processes: set language.reasoning.source "
                    "to gold or history"
                )
        return self
