"""Every option once: typed, documented, frozen. YAML or `--set a.b=c` in, JSON in the run directory out.

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


class Options(BaseModel):
    """Base of every group of options: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataOptions(Options):
    """What is fitted and what is asked."""

    split: SplitName = "leave-one-out"
    max_history: Count | Auto = Field("auto", description="items of history that the language model sees at most")


class CollaborativeOptions(Options):
    """LightGCN on the training interactions (He et al. 2020)."""

    encoder: Literal["lightgcn", "spectral", "none", "auto"] = Field(
        "auto",
        description="lightgcn is trained, spectral is a truncated SVD in closed form; auto: spectral at size small, "
        "else lightgcn",
    )
    dim: Count = 64
    layers: Annotated[int, Field(ge=0, le=8)] = 3
    learning_rate: Positive = 5e-3
    l2: Weight = Field(1e-4, description="weight of the squared norm of a batch's base vectors")
    batch_size: Count | Auto = Field("auto", description="positive interactions per step")
    epochs: Count | Auto = "auto"
    patience: Count = Field(3, description="validations without a better NDCG@10 before training stops")


class TextOptions(Options):
    """Sentence vectors of title, category and text, from a pre-trained language model."""

    encoder: Literal["minilm", "none"] = "minilm"
    model: str | None = Field(None, description="local path or hub id of a sentence model; null: the packaged one")
    max_tokens: Count = Field(64, description="word pieces of one item's text that are read")


class TokenizerOptions(Options):
    """Robust tokenizer: masking, then K additive encoders (DeftRec, section on robust tokenization)."""

    ways: Count = Field(1, description="K, continuous tokens of one item")
    tokens: Literal["continuous", "vq", "rq"] = Field(
        "continuous", description="or quantised: a codebook for each way (vq), several after another for one way (rq)"
    )
    codebook_size: Count = Field(256, description="codes of one codebook")
    codebooks: Count = Field(3, description="of rq, each for what those before it left over")
    codebook_decay: Rate = Field(0.8, description="of the moving averages that codes are")
    commitment_weight: Weight = Field(0.25, description="pull quantised tokens towards their codes")
    hidden: Count = 256
    dropout: Rate = 0.1
    mask_features: Rate = Field(0.0, description="share of features replaced by a learned value, in training")
    drop_collaborative: Rate | Auto = Field("auto", description="share of items whose collaborative half is zeroed")
    drop_text: Rate = Field(0.0, description="share of items whose whole text half is zeroed, in training")
    noise: Weight = Field(0.0, description="sigma-VAE: spread of the random scale of a token's noise, in training")
    training: Literal["joint", "frozen"] = Field(
        "joint", description="with the rest; frozen: first alone, to reconstruct the features, and then no more"
    )
    alone_epochs: Count = Field(200, description="passes over the catalogue of a tokenizer trained alone")
    alone_learning_rate: Positive = 1e-3
    trainable_features: bool | Auto = Field("auto", description="learn the feature table on from its first value")
    users: Literal["none", "folded", "auto"] = Field(
        "auto", description="user tokens: none, or folded in from the history; auto: where histories are long"
    )
    reconstruction_weight: Weight = Field(0.0, description="decode the tokens' mean back to the features")
    mean_weight: Weight = Field(
        0.0, description="keep the tokens' mean square at one, so that noise of unit scale counts"
    )
    redundancy_weight: Weight = Field(0.0, description="push the ways of one item apart (squared cosine)")

    @model_validator(mode="after")
    def _leaves_a_block(self) -> "TokenizerOptions":
        if self.drop_collaborative != "auto" and self.drop_collaborative + self.drop_text > 1:
            raise ValueError("drop_collaborative and drop_text are more than 1 together: one block at most is hidden")
        return self

    @model_validator(mode="after")
    def _residual_of_one(self) -> "TokenizerOptions":
        if self.tokens == "rq" and self.ways > 1:
            raise ValueError("tokens rq has several codebooks for one way: set ways to 1, and codebooks as you like")
        return self

    @model_validator(mode="after")
    def _frozen_on_something(self) -> "TokenizerOptions":
        if self.training == "frozen" and not self.reconstruction_weight:
            raise ValueError("training frozen learns by reconstruction: set reconstruction_weight above 0")
        if self.training == "frozen" and self.trainable_features is True:
            raise ValueError("training frozen needs features that stay: set trainable_features to false or auto")
        return self


class NanoOptions(Options):
    """A small causal transformer, trained from scratch."""

    kind: Literal["nano"] = "nano"
    width: Count | Auto = "auto"
    layers: Count | Auto = "auto"
    heads: Count = 2
    dropout: Rate | Auto = "auto"

    @model_validator(mode="after")
    def _divisible(self) -> "NanoOptions":
        if self.width != "auto" and self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} must be a multiple of twice the {self.heads} heads")
        return self


class ReasoningOptions(Options):
    """The preference in words: what the model learns to say of a history, and generates."""

    weight: Weight = Field(0.0, description="of its language-model loss, 0.1 as published; 0: no words are learnt")
    rows: Count = Field(8, description="histories of a batch whose preference is learnt")
    history: Count = Field(50, description="newest items that are read before wording it")
    alone_epochs: Annotated[int, Field(ge=0)] = Field(
        0, description="passes over the users in which words alone are learnt, before all else"
    )
    max_tokens: Count = Field(24, description="most word pieces of it")
    source: Literal["gold", "generated", "history"] = Field(
        "generated", description="what is a condition in training: the right words, own ones, or without the target"
    )


class PretrainedOptions(Options):
    """A pre-trained Hugging Face model that reads continuous tokens among words."""

    kind: Literal["pretrained"] = "pretrained"
    model: str = Field("minilm", description="`minilm` (packaged, works offline), a local path, or a hub id")
    revision: str | None = Field(None, description="hub revision; null: the newest")
    initial: Literal["pretrained", "random"] = Field(
        "pretrained", description="weights to start from; random: the architecture alone, to see what they are worth"
    )
    tuning: Literal["frozen", "full", "lora", "nf4"] = Field(
        "full", description="nf4: LoRA on weights of 4 bits, which needs a GPU and the extra of that name"
    )
    layers: Count | None = Field(None, description="lowest blocks that are kept, for speed; null: all")
    frozen_layers: Annotated[int, Field(ge=0)] = Field(
        0, description="lowest blocks that tuning full leaves as they are, and all that lies below them"
    )
    lora_rank: Count = 16
    lora_alpha: Positive = 32.0
    lora_targets: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear", description="names of the layers that get an adapter, as in [q_proj, v_proj]"
    )
    dropout: Rate = 0.1
    dtype: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="of weights that are not trained; auto: as the files hold them, bf16 or else fp32"
    )
    attention: Literal["auto", "eager", "sdpa"] = Field(
        "auto", description="auto: eager on a CPU, faster there; other kernels cannot be given a mask of one's own"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations again in the backward pass: a third more work, far less memory"
    )
    prompts: tuple[str, ...] = Field(
        (),
        description="words before {history}; {domain} is the dataset's. The first is asked, training draws one a "
        "batch; none: the ten of deftrec.language.prompts",
    )
    chat: bool | Auto = Field("auto", description="in the model's chat format; auto: where its tokenizer has one")
    titles: Annotated[int, Field(ge=0)] = Field(0, description="word pieces of its title before an item's tokens")
    max_tokens: Count | None = Field(
        None, description="most tokens of words and history; the oldest items are left out; null: what the model reads"
    )
    condition: Literal["latent", "reasoning"] = Field(
        "latent", description="state after the history; reasoning: and those of the preference that the model words"
    )
    reasoning: ReasoningOptions = ReasoningOptions()

    @model_validator(mode="after")
    def _tunes_what_it_can(self) -> "PretrainedOptions":
        if self.tuning == "full" and self.dtype == "bf16":
            raise ValueError(
                "dtype bf16 is for weights that are not trained, and tuning full trains them: their steps are "
                "too small for it; leave dtype at auto, or tune with lora"
            )
        if self.tuning in {"frozen", "full"} and self.lora_targets != "all-linear":
            raise ValueError(f"lora_targets are of an adapter, and tuning {self.tuning} has none: set tuning to lora")
        if self.frozen_layers and self.tuning != "full":
            raise ValueError(
                f"frozen_layers are left out of tuning full, and this is tuning {self.tuning}: leave it at 0"
            )
        if not self.lora_targets:
            raise ValueError("lora_targets names no layer: leave it at all-linear, or set tuning to frozen")
        if self.tuning == "nf4" and self.initial == "random":
            raise ValueError("tuning nf4 keeps pre-trained weights in 4 bits, and initial random has none")
        return self

    @model_validator(mode="after")
    def _has_history(self) -> "PretrainedOptions":
        for prompt in self.prompts:
            if not prompt.endswith("{history}") or prompt.count("{history}") != 1:
                raise ValueError(
                    "prompts must end with the placeholder {history}, once each: no place may read past its target"
                )
            try:
                prompt.format(domain="", history="")
            except (LookupError, ValueError):
                raise ValueError("prompts know the placeholders {domain} and {history}; write {{ for a brace") from None
        return self

    @model_validator(mode="after")
    def _learns_to_reason(self) -> "PretrainedOptions":
        if self.condition == "reasoning" and not self.reasoning.weight:
            raise ValueError("condition reasoning needs words: set reasoning.weight above 0 (0.1 as published)")
        return self


LanguageOptions: TypeAlias = Annotated[NanoOptions | PretrainedOptions, Field(discriminator="kind")]


class DiffusionOptions(Options):
    """Denoising of the next item's latent under the condition; or what is compared with it."""

    head: Literal["diffusion", "direct", "semantic-ids"] = Field(
        "diffusion", description="or the same network without noise, or a decoder of semantic ids"
    )
    schedule: Literal["cosine", "linear"] = "cosine"
    prediction: Literal["x0", "eps"] = "x0"
    error: Literal["latent", "noise"] = Field("latent", description="what the squared and pairwise errors are of")
    space: Literal["sphere", "euclidean"] = Field("sphere", description="latents and what is denoised have unit norm")
    width: Count = 128
    depth: Count = 2
    pure_noise_share: Share = Field(0.75, description="share of targets that are trained at t = 1, the rest uniformly")
    condition_dropout: Rate = Field(0.0, description="share of conditions replaced by a learned one, for guidance")
    skip: bool = Field(True, description="add a linear map of the condition to the denoised x0")
    unrolled: Annotated[int, Field(ge=0)] = Field(
        0, description="further denoising passes in training, each from the estimate of the one before it"
    )
    unrolled_noise: bool = Field(True, description="noise half of the rows of further passes; false: none")
    sampler: Literal["ddim", "ddpm", "dpm", "mean"] = Field(
        "ddim", description="`dpm` is DPM-Solver++(2M); `mean` keeps no noise between steps"
    )
    steps: Count = 1
    start: Literal["zero", "noise"] = Field("zero", description="start of sampling: the mean of the noise, or a draw")
    samples: Count = Field(1, description="draws whose mean is retrieved with")
    code_levels: Count = Field(3, description="codes of a semantic id, before the one that tells equal ids apart")
    code_size: Count = Field(256, description="values of one code of a semantic id")
    beam: Count = Field(100, description="partial semantic ids kept in retrieval; other items have no score")
    guidance_scale: Weight = Field(0.0, description="0: none; w: (1 + w) x conditional - w x unconditional")

    @model_validator(mode="after")
    def _consistent(self) -> "DiffusionOptions":
        if self.guidance_scale and not self.condition_dropout:
            raise ValueError("guidance_scale needs condition_dropout above 0: nothing else trains the empty condition")
        if self.prediction == "eps" and self.skip:
            raise ValueError("skip adds to x0: set skip to false with prediction eps")
        noisy = self.prediction == "eps" or self.error == "noise" or self.condition_dropout or self.unrolled
        if self.head != "diffusion" and noisy:
            raise ValueError(
                f"head {self.head} has no noise: leave prediction, error, condition_dropout and unrolled alone"
            )
        if self.error == "noise" and self.prediction == "x0" and self.pure_noise_share == 1:
            raise ValueError("error noise counts nothing at t = 1: set pure_noise_share below 1, or error to latent")
        if self.unrolled and (self.prediction == "eps" or not self.pure_noise_share):
            raise ValueError("unrolled goes on from t = 1: it needs prediction x0 and a pure_noise_share above 0")
        return self


class ObjectiveOptions(Options):
    """Denoising error of the next item against that of items that were not taken."""

    negatives: Literal["none", "pairwise", "preference", "softmax"] = "softmax"
    temperature: Positive = Field(
        0.07, description="of the softmax over the catalogue, of `preference`, and of the retrieval score"
    )
    negatives_per_target: Count = Field(16, description="drawn for `pairwise` and `preference`")
    negatives_weight: Weight = 1.0
    error_weight: Weight = Field(0.2, description="weight of the denoising error itself")
    mask_seen: bool | Auto = Field(
        "auto",
        description="items of the history are no negatives; auto: where they are not to be recommended, or hardly "
        "anybody takes an item twice",
    )
    full_softmax_items: Count = Field(50_000, description="larger catalogues use a sampled softmax")
    sampled_items: Count = Field(16_384, description="items of one step of the sampled softmax, with logQ correction")


class TrainingOptions(Options):
    """The loop of the joint stage (tokenizer, language model and diffusion)."""

    ensemble_size: Count | Auto = Field("auto", description="models of different seeds whose scores are averaged")
    targets: Literal["every", "last"] = Field("every", description="every position, or the last of each sequence")
    redraw_ties: bool = Field(
        True,
        description="what a user took at one time stands in an order drawn anew every epoch; false: as in the data",
    )
    learning_rate: Positive | Auto = "auto"
    language_learning_rate_factor: Positive = Field(
        1.0, description="rate of a pre-trained model, relative to the rest"
    )
    batch_positions: Count | Auto = "auto"
    accumulation: Count = Field(1, description="batches whose gradients are added before a step")
    epochs: Count | Auto = "auto"
    patience: Count | Auto = Field("auto", description="epochs without a better validation NDCG@10 before it stops")
    minutes: Positive | None = Field(
        None, description="of the joint stage, which ends with the epoch in which they do; a refit has no limit"
    )
    warmup_steps: Annotated[int, Field(ge=0)] = 100
    final_rate: Share = Field(0.1, description="learning rate at the end of the cosine, as a share of its peak")
    weight_decay: Weight = 0.01
    clip: Positive = 5.0
    sharded: bool = Field(
        False, description="take weights, gradients and optimiser apart over the processes of a launch (FSDP)"
    )
    average: Rate = Field(0.99, description="decay of averaged weights, which are validated and kept; 0: no averaging")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bf16 where the hardware multiplies it"
    )
    validation_users: Count = Field(50_000, description="users asked in one validation, at most")
    checkpoint_seconds: Weight = Field(20.0, description="least time between two checkpoints; 0: after every epoch")


class FineTuningOptions(Options):
    """Training that goes on from the weights of a run (`deftrec train --from`); everything else is as in that run."""

    epochs: Count = Field(3, description="passes over the new data, at most; validation chooses among them")
    learning_rate_factor: Positive = Field(0.2, description="of training.learning_rate, at its peak")


class PriorOptions(Options):
    """A linear collaborative prior added to the retrieval score, on a recency-weighted history.

    EASE (Steck 2019) knows what is taken together, SLIT (Choi et al. 2021) what is taken next, the graph (GF-CF, Shen
    et al. 2021) what is taken by those who took the same; validation chooses.
    """

    kind: Literal["any", "ease", "slit", "graph", "none"] = Field(
        "any", description="any: whichever validation prefers"
    )
    regularisation: tuple[Positive, ...] = Field((50.0, 300.0), min_length=1, description="of EASE; validation chooses")
    recency: tuple[Weight, ...] = Field(
        (0.0, 0.25, 0.5, 1.0), min_length=1, description="p of (1 + age)^-p, of EASE and the graph; validation chooses"
    )
    slit_regularisation: tuple[Positive, ...] = Field(
        (100.0, 1000.0), min_length=1, description="of SLIT; validation chooses"
    )
    slit_recency: tuple[Weight, ...] = Field(
        (0.5,), min_length=1, description="the same p for SLIT, which is fitted with it"
    )
    weights: tuple[Weight, ...] = Field(
        (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0), description="tried; validation chooses"
    )
    neighbours: Count = Field(512, description="largest entries kept for each item")
    max_items: Count = Field(20_000, description="the most popular items that take part; bounds memory and time")
    popularity: tuple[float, ...] = Field(
        (-1.2, -0.9, -0.6, -0.3), description="weights of an item's log popularity beside 0, tried; validation chooses"
    )
    recent_popularity: tuple[Weight, ...] = Field(
        (0.3, 0.6, 0.9, 1.2), description="the same of how many histories end with it"
    )


class TextMatchOptions(Options):
    """The model's words against each item's text, in the retrieval score: similarity x (1 + weight x match)."""

    match: Literal["none", "sentence", "overlap"] = Field(
        "none", description="cosine of sentence vectors, or the share of the words that the item's text has too"
    )
    weights: tuple[Weight, ...] = Field((0.0, 0.05, 0.1, 0.2, 0.4, 0.8), description="tried; validation chooses")


class RetrievalOptions(Options):
    """How the generated latent is matched with the catalogue."""

    similarity: Literal["cosine", "inner", "l2"] = "cosine"
    seen: Literal["exclude", "keep"] = Field(
        "exclude", description="whether the model is to recommend items of the history: trained and validated for that"
    )
    again: tuple[float, ...] = Field(
        (-4.0, -3.0, -2.0, -1.0, 1.0, 2.0),
        description="what seen items get on top beside 0, where they are to be recommended and are taken again, tried; "
        "validation chooses",
    )
    text: TextMatchOptions = TextMatchOptions()
    prior: PriorOptions = PriorOptions()
    exposure: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.005,
        description="share of validation's NDCG@10 that raising items which come after training may cost; 0: they are "
        "not raised",
    )

    @model_validator(mode="after")
    def _bounded_similarity(self) -> "RetrievalOptions":
        if self.text.match != "none" and self.similarity != "cosine":
            raise ValueError("text.match multiplies a similarity that cannot be negative: set similarity to cosine")
        return self


class Config(Options):
    """All options of one run."""

    seed: Annotated[int, Field(ge=0)] = 0
    size: Size = Field(
        "auto",
        description="dial that derives width, layers, epochs and members where they say auto; small: first results in "
        "minutes; auto: values measured at this size of the data, kept as medium in a run",
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
        """Whether items of the history are candidates like others: they are to be recommended, and are taken again."""
        return self.retrieval.seen == "keep" and not self.objective.mask_seen

    @property
    def seen_last(self) -> bool:
        """Whether they are candidates that come after all others: to be recommended, though hardly taken again."""
        return self.retrieval.seen == "keep" and not self.repeats

    @model_validator(mode="after")
    def _members_have_latents(self) -> "Config":
        if self.diffusion.head == "semantic-ids" and self.training.ensemble_size not in {1, "auto"}:
            raise ValueError(
                "training.ensemble_size average latents, and diffusion.head semantic-ids has none: set it to 1"
            )
        return self

    @model_validator(mode="after")
    def _matches_every_item(self) -> "Config":
        if self.diffusion.head == "semantic-ids" and self.retrieval.text.match != "none":
            raise ValueError(
                "diffusion.head semantic-ids scores no item that its beam does not reach, and retrieval.text.match "
                "multiplies every score: set it to none"
            )
        return self

    @model_validator(mode="after")
    def _has_words(self) -> "Config":
        language = self.language
        words = isinstance(language, PretrainedOptions) and language.reasoning.weight > 0
        if self.retrieval.text.match != "none" and not words:
            raise ValueError(
                "retrieval.text.match needs a model that learns words: set language.reasoning.weight above 0 "
                "(language.kind pretrained)"
            )
        return self

    @model_validator(mode="after")
    def _has_features(self) -> "Config":
        if self.collaborative.encoder == "none" and self.text.encoder == "none":
            raise ValueError("items have no vectors: collaborative.encoder and text.encoder are both none")
        return self

    @model_validator(mode="after")
    def _can_be_sharded(self) -> "Config":
        if self.training.sharded and self.tokenizer.tokens != "continuous":
            raise ValueError(
                "training.sharded keeps no codebooks in step between processes: set tokenizer.tokens to continuous"
            )
        language = self.language
        if self.training.sharded and isinstance(language, PretrainedOptions):
            if language.tuning == "nf4":
                raise ValueError("training.sharded takes no weights of 4 bits apart: set language.tuning to lora")
            if language.condition == "reasoning" and language.reasoning.source == "generated":
                raise ValueError(
                    "training.sharded cannot wait for words of different lengths while it learns: set "
                    "language.reasoning.source to gold or history"
                )
        return self

    @model_validator(mode="after")
    def _judges_every_pass(self) -> "Config":
        if self.diffusion.unrolled and self.objective.negatives == "none":
            raise ValueError("diffusion.unrolled adds the term of the negatives: objective.negatives is none")
        return self
