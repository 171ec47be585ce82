"""Learns to read requests in words, beside a trained model that stays as it is."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deftrec.data import Cases, make_split
from deftrec.data.words import texts_of
from deftrec.diffusion import Sampling
from deftrec.ensemble import members_of, side_by_side
from deftrec.errors import ConfigError
from deftrec.evaluation import accuracy, ranks_from_scores
from deftrec.pretrained_files.locate import model_folder
from deftrec.progress import Progress, Silent
from deftrec.requests import REQUEST_TOKENS, Lexicon, RequestWriter
from deftrec.requests.meanings import MOST_CATEGORIES, category_meanings, related_words
from deftrec.retrieval import RequestHead, RequestTerm, generate_queries, seen_rules
from deftrec.run import Run
from deftrec.text import sentence_vectors
from deftrec.training.loop import Plan, Stage, TrainingLog, train
from deftrec.training.pairs import pairs_of, seen_of, small_conditions

SENTENCE_MODEL = "minilm"
"""Encoder of requests and items where the run itself reads no text."""

POSITIONS, NEWEST = 20_000, 32
"""Largest number of places of histories that training reads, and of them in one history, the newest."""

PASSES, BATCH, RATE, DECAY = 3, 1024, 3e-3, 0.01
"""Passes over the places, places of a batch, learning rate and weight decay."""

CANDIDATES = 16_384
"""Items among which a place's own is told apart; those of a larger catalogue are drawn at random in each batch."""

CHECKS = 1_000
"""Largest number of validation users on whom weights are chosen."""

LEARNT, COSINE, WORDS = (0.0, 0.5, 1.0, 1.5, 2.0), (0.0, 5.0, 10.0, 20.0), (0.0, 2.0, 4.0, 8.0, 16.0)
"""Weights of the three parts of the request term that are tried on validation."""

ITEM_TOKENS = 128
"""Largest number of tokens of an item's text that are read."""

UNKNOWN = 0.25
"""Factor on the weight of the learnt similarity for texts without a known word."""


@dataclass(frozen=True, eq=False)
class RequestBatch:
    """Places of histories with requests for the items that followed.

    Attributes:
        latents: generated latents. `[B, D]`
        requests: sentence vectors of the requests. `[B, E]`
        targets: items that followed. `[B]` int64
        seen: (place, item) of items in a place's history other than its target. `[S, 2]` int64
    """

    latents: Tensor
    requests: Tensor
    targets: Tensor
    seen: Tensor


class RequestLoss(nn.Module):
    """Cross-entropy of the item that followed, given its history and a request for it."""

    def __init__(self, head: RequestHead, run: Run, sentences: Tensor) -> None:
        super().__init__()
        self.head = head
        self.latent, self.sentences = run.ranker.latent, (sentences,)  # in a tuple: no parameter of the module

    def forward(self, batch: RequestBatch) -> dict[str, Tensor]:
        """`loss`, scalar."""
        [sentences], n_items = self.sentences, len(self.latent.latents)
        device = batch.latents.device
        if n_items <= CANDIDATES:
            candidates = torch.arange(n_items, device=device)
        else:
            drawn = torch.randint(n_items, (CANDIDATES,), device=device)
            candidates = torch.unique(torch.cat([batch.targets, drawn]))
        place = torch.full((n_items,), -1, device=device)
        place[candidates] = torch.arange(len(candidates), device=device)
        keys = self.head.keys(sentences[candidates], self.latent.latents[candidates])
        logits = self.latent.compared(batch.latents, candidates) + self.head.queries(batch.requests) @ keys.T
        rows, items = batch.seen[:, 0], place[batch.seen[:, 1]]
        logits[rows[items >= 0], items[items >= 0]] = float("-inf")
        return {"loss": F.cross_entropy(logits, place[batch.targets])}


class RequestStage(Stage):
    """The request head; `requests` `[N, R]` are rows of `vectors` `[V, E]`, R drawn for each place."""

    name = "requests"
    dense = False

    def __init__(self, loss: RequestLoss, places: RequestBatch, requests: Tensor, vectors: Tensor, seed: int) -> None:
        self.module, self.places, self.requests, self.vectors, self.seed = loss, places, requests, vectors, seed

    def epoch(self, number: int) -> tuple[int, Iterator[RequestBatch]]:
        """See `Stage.epoch`."""
        order = np.random.default_rng([self.seed, number]).permutation(len(self.requests))
        parts = np.array_split(order, max(1, -(-len(order) // BATCH)))
        drawn = self.requests[:, number % self.requests.shape[1]]
        return len(parts), (self._batch(torch.from_numpy(np.sort(part)), drawn) for part in parts)

    def _batch(self, rows: Tensor, drawn: Tensor) -> RequestBatch:
        whole = self.places
        seen = seen_of(whole.seen, rows, len(whole.targets))
        return RequestBatch(whole.latents[rows], self.vectors[drawn[rows]], whole.targets[rows], seen)

    def validate(self) -> dict[str, float]:
        """No metrics: the stage runs for a fixed number of passes."""
        return {}


class RequestTraining:
    """Trains the request term of a finished run.

    Args:
        run: the run, which stays as it is.
        progress: receiver of progress.
        without: words that no training request holds, for studies.
        language_model: causal language model that relates words to the categories; None: that of the run's reasoner,
            if it has one.

    Raises:
        ConfigError: the items have no words to ask for, or there is no history to learn from.
    """

    def __init__(
        self,
        run: Run,
        progress: Progress,
        without: frozenset[str] = frozenset(),
        language_model: str | None = None,
    ) -> None:
        self.run, self.progress, self.seed = run, progress, run.config.seed
        self.lexicon = Lexicon(run.interactions)
        self.writer = RequestWriter(self.lexicon, run.interactions.meta.domain, without)
        self.named = np.array([bool(self.writer.kinds_of(item)) for item in range(run.interactions.n_items)])
        if self.named.sum() < 2:
            raise ConfigError(
                f"{run.interactions.meta.name}: requests need items with categories or titles of several words, which "
                f"{self.named.sum()} of {run.interactions.n_items:,} has; import the data with such items"
            )
        self.model = run.config.text.model or SENTENCE_MODEL
        reasoner = run.config.reasoner
        self.language_model = language_model or (reasoner.model if reasoner is not None else None)

    def train(self) -> RequestTerm:
        """The term, its weights chosen on validation."""
        latents = self.run.ranker.latent.latents
        texts = texts_of(self.run.interactions.catalogue)
        sentences = self.encoded(texts, "reading items", ITEM_TOKENS).to(latents)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            head = RequestHead(sentences.shape[1], latents.shape[1]).to(latents.device)
            head.fit_components(sentences)
            self._fit(head, sentences)
        none = {kind: {"learnt": 0.0, "cosine": 0.0, "words": 0.0} for kind in ("category", "keyword", "other")}
        related = self._related()
        names, meanings = category_meanings(
            self.lexicon, sentences, partial(self.encoded, task="reading categories"), related
        )
        term = RequestTerm.of(head, sentences, latents, none, self.model, {}, names, meanings, related)
        weights, record = self._weights(term)
        return replace(term, weights=weights, record=record)

    def _related(self) -> dict[str, list[str]]:
        """Words that the language model relates to the categories; empty without one, or with too many categories."""
        names = list(self.lexicon.members)
        if self.language_model is None or not 1 < len(names) <= MOST_CATEGORIES:
            return {}
        self.progress.say(f"{self.language_model} relates words to {len(names)} categories")
        return related_words(self.language_model, names, self.lexicon.domain)

    def _fit(self, head: RequestHead, sentences: Tensor) -> None:
        places = self._places()
        if places is None:
            self.progress.say("no history has two items with words: requests are read without training")
            return
        rng = np.random.default_rng([self.seed, 1])
        targets = places.targets.tolist()
        draws = max(1, min(PASSES, POSITIONS // len(targets)))
        texts = [[self.writer.draw(item, rng) or "" for _ in range(draws)] for item in targets]
        distinct = sorted({text for row in texts for text in row})
        numbers = {text: n for n, text in enumerate(distinct)}
        requests = torch.tensor([[numbers[text] for text in row] for row in texts])
        vectors = self.encoded(distinct, "reading requests").to(sentences)
        stage = RequestStage(RequestLoss(head, self.run, sentences), places, requests, vectors, self.seed)
        plan = Plan(
            epochs=PASSES,
            stop_after=PASSES,
            learning_rate=RATE,
            patience=PASSES,
            dtype=torch.float32,
            weight_decay=DECAY,
            warmup_steps=5,
            final_rate=0.1,
            clip=5.0,
        )
        train(stage, plan, checkpoints=None, resume=False, log=TrainingLog(None), progress=self.progress)

    @torch.no_grad()
    def _places(self) -> RequestBatch | None:
        """Places of training histories whose next item has words; None if there are none."""
        run, rng = self.run, np.random.default_rng([self.seed, 0])
        window = min(NEWEST, run.model.max_history)
        read: list[np.ndarray] = []
        places: list[tuple[int, int]] = []
        for user in rng.permutation(len(run.training)):
            items = run.training[int(user)].astype(np.int64)[-1 - max(run.model.max_history, window) :]
            own = [p for p in range(max(0, len(items) - 1 - window), len(items) - 1) if self.named[items[p + 1]]]
            if own:
                places += [(len(read), place) for place in own]
                read.append(items)
            if len(places) >= POSITIONS:
                break
        if not places:
            return None
        conditions = small_conditions(run.model, run.catalogue, [one[:-1] for one in read], window)
        nothing = conditions.new_zeros(len(read), window, 0)
        pairs = pairs_of(read, places, conditions, nothing)
        generator = torch.Generator(conditions.device).manual_seed(self.seed)
        sampling = Sampling.of(run.config.diffusion)
        samples = [
            member.diffusion.generate(pairs.conditions[:, m], sampling, generator).x0
            for m, member in enumerate(members_of(run.model))
        ]
        return RequestBatch(side_by_side(samples), conditions.new_zeros(len(places), 0), pairs.targets, pairs.seen)

    def encoded(self, texts: list[str], task: str, max_tokens: int = REQUEST_TOKENS) -> Tensor:
        """Sentence vectors of texts, zeros for an empty one, read as the progress's `task`. `[N, E]` float32"""
        self.progress.begin(task, len(texts))
        vectors = sentence_vectors(
            texts,
            model_folder(self.model),
            max_tokens=max_tokens,
            device=self.run.catalogue.latents.device,
            dtype=torch.float32,
            on_batch=partial(self.progress.advance, task),
        )
        self.progress.end(task)
        return vectors

    def _weights(self, term: RequestTerm) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
        """Weights of the parts by kind of request, and NDCG@10 on validation with them and without."""
        split = make_split(self.run.interactions, self.run.config.data.split)
        cases = split.cases("validation").head(CHECKS)
        grid = list(itertools.product(LEARNT, COSINE, WORDS))
        chosen: dict[str, tuple[float, float, float]] = {}
        record: dict[str, dict[str, float]] = {}
        for kind in ("category", "keyword"):
            means = self._ndcg(term, cases, kind, grid)
            if not means:
                continue
            chosen[kind] = max(grid, key=lambda weights: means[weights])
            record[kind] = {"ndcg": means[chosen[kind]], "ndcg_without": means[0.0, 0.0, 0.0]}
            # A text without a known word: the same requests, read without the words that they share with items. What
            # was learnt from such words counts a quarter, as paraphrases for validation users of ml-100k showed.
            learnt, cosine, _ = max((one for one in grid if not one[2]), key=lambda weights: means[weights])
            chosen.setdefault("other", (UNKNOWN * learnt, cosine, chosen[kind][2]))
        usual = chosen.get("category") or chosen.get("keyword") or (1.0, 0.0, 4.0)
        named = {kind: chosen.get(kind, usual) for kind in ("category", "keyword", "other")}
        return {k: dict(zip(("learnt", "cosine", "words"), one, strict=True)) for k, one in named.items()}, record

    @torch.no_grad()
    def _ndcg(
        self, term: RequestTerm, cases: Cases, kind: str, grid: Sequence[tuple[float, float, float]]
    ) -> dict[tuple[float, float, float], float]:
        """Mean NDCG@10 under requests of a kind for the targets of `cases`, by weights; empty if none has its words."""
        rng = np.random.default_rng([self.seed, 2])
        texts = [self.writer.check(int(item), kind, rng) for item in cases.targets]  # type: ignore[arg-type]
        rows = np.array([n for n, text in enumerate(texts) if text is not None], np.int64)
        if not len(rows):
            return {}
        asked = [text for text in texts if text is not None]
        vectors = self.encoded(asked, f"choosing weights of {kind} requests").to(term.sentences)
        run = self.run
        some = Cases(cases.users[rows], cases.histories.select(rows), cases.targets[rows])
        queries = generate_queries(
            run.model, run.catalogue, some.histories, sampling=Sampling.of(run.config.diffusion), seed=self.seed
        )
        targets = torch.from_numpy(some.targets).to(vectors.device)
        sums = dict.fromkeys(grid, 0.0)
        for part, scores in run.ranker.chunks(queries, seen_rules(not run.config.repeats)):
            learnt = term.head.queries(vectors[part]) @ term.keys.T
            cosine = vectors[part] @ term.sentences.T
            words = torch.zeros_like(scores)
            for row, text in enumerate(asked[part]):
                match = self.lexicon.match(text)
                words[row, torch.from_numpy(match.items).to(words.device)] = torch.from_numpy(match.values).to(words)
            for weights in grid:
                total = scores + weights[0] * learnt + weights[1] * cosine + weights[2] * words
                found = accuracy(ranks_from_scores(total, targets[part]), (10,))["ndcg@10"]
                sums[weights] += float(found.sum())
        return {weights: value / len(rows) for weights, value in sums.items()}


def train_requests(run: Run, progress: Progress | None = None, language_model: str | None = None) -> RequestTerm:
    """The request term of a finished run; arguments and errors of `RequestTraining`."""
    return RequestTraining(run, progress or Silent(), language_model=language_model).train()
