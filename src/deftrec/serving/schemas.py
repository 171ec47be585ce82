"""JSON bodies of requests and responses. Ids may be sent as strings or integers; they are returned as strings."""

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema

from deftrec.data.catalogue import LONGEST_NAME
from deftrec.data.ids import ID_LENGTH, check_id
from deftrec.data.signals import LONGEST_KIND
from deftrec.recommendation import Recommendation, Recommendations, Source
from deftrec.requests import GUIDANCE, LONGEST
from deftrec.rerankers import ItemSimilarity, RerankerName
from deftrec.retrieval import RuleOptions
from deftrec.serving.engine import InferenceEngine

INTEGERS = 2**63
IDS = 2**64  # first integer that is not accepted as an id; the same digits sent as a string are accepted


def _as_text(value: object) -> object:
    """`17` and `"17"` are the same id; booleans are not ids."""
    if isinstance(value, int) and not isinstance(value, bool) and -INTEGERS <= value < IDS:
        return str(value)
    return value


PathId: TypeAlias = Annotated[str, Field(min_length=1, max_length=ID_LENGTH), AfterValidator(check_id)]
"""An id in a path or a query."""
Id: TypeAlias = Annotated[
    PathId,
    BeforeValidator(_as_text),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "minLength": 1, "maxLength": ID_LENGTH}, {"type": "integer"}]}, mode="validation"
    ),
]
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=INTEGERS)]
Point: TypeAlias = Annotated[list[float], Field(min_length=2, max_length=2)]
"""Two coordinates; a list, because few client generators support tuples."""


class RequestBody(BaseModel, frozen=True, extra="forbid"):
    """Base of all request bodies; unknown keys are refused."""


class NewItem(RequestBody):
    """Description of an item. If all fields are empty, the description that is already stored is used."""

    title: str = Field("", max_length=1000)
    category: str = Field("", max_length=1000, description="one category, or several separated by |")
    text: str = Field("", max_length=20_000, description="further description; the model reads its beginning")
    attributes: dict[Annotated[str, Field(max_length=LONGEST_NAME)], str | float | bool | None] = Field(
        {}, max_length=100, description="attributes of the run's catalogue, such as price; others are refused"
    )


Kind: TypeAlias = Annotated[str, Field(min_length=1, max_length=LONGEST_KIND)]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
Value: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


class NewEvent(RequestBody):
    """An interaction of a user with an item."""

    event_id: Id = Field(description="unique id chosen by the client; an event sent twice is stored once")
    user_id: Id
    item_id: Id
    time: Seconds | None = Field(None, description="seconds since 1970; default: time of arrival")
    kind: Kind | None = Field(None, description="kind of event; needed where the run's data have kinds")
    value: Value | None = Field(None, description="rating or amount")


class NewEvents(RequestBody):
    """A batch of events; either all of them are stored or none."""

    events: list[NewEvent] = Field(min_length=1)


class PastEvent(RequestBody):
    """An event of a history that is given in a query."""

    item_id: Id
    kind: Kind | None = Field(None, description="kind of event; default: unknown")
    value: Value | None = Field(None, description="rating or amount; default: none")
    time: Seconds | None = Field(None, description="seconds since 1970; default: unknown")


class RecommendationQuery(RequestBody):
    """A user or a history, and the restrictions on the recommended items."""

    user_id: Id | None = Field(None, description="user whose complete history is used, newest events included")
    history: list[Id | PastEvent] | None = Field(
        None, description="item ids, or events with kind, value and time, oldest first; instead of user_id"
    )
    at: Seconds | None = Field(
        None, description="time of the request in seconds since 1970; default: now for a user, unknown for a history"
    )
    k: int = Field(10, ge=1, description="number of items to recommend")
    exclude_seen: bool = Field(True, description="leave out items of the history")
    category: str | None = Field(None, max_length=ID_LENGTH, description="recommend only items of this category")
    allow: list[Id] | None = Field(None, description="recommend only these items")
    deny: list[Id] = Field([], description="recommend none of these items")
    request: str | None = Field(
        None, max_length=LONGEST, description="wish in words: 'science fiction, nothing violent'"
    )
    guidance: float = Field(1.0, ge=0, le=GUIDANCE, description="weight of the request; 1 as learnt, 0 none")
    rerank: RerankerName = Field("none", description="order of the best items: the score alone, or varied lists")
    strength: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="strength of the re-ranking, 0: none; default: 0.5",
    )
    similarity: ItemSimilarity = Field("co-occurrence", description="similarity of items, for mmr and dpp")
    rules: tuple[RuleOptions, ...] = Field((), description="business rules, in addition to those of the service")
    offset: int | None = Field(
        None, ge=0, description="items before the list; give 0 for a first page, as an index is not used then"
    )
    samples: int | None = Field(None, ge=1, description="number of noise draws to average; default: the run's setting")
    seed: Seed | None = Field(None, description="random seed of the noise; default: the run's seed")
    explain: bool = Field(False, description="add explanations; costs one model call per item of the history")
    deadline_ms: int | None = Field(None, ge=1, description="milliseconds until 503; the service's limit also applies")


class Item(BaseModel):
    """An item of the catalogue."""

    item_id: str
    title: str = Field(description="plain text; the id if the item has no title")
    categories: list[str]
    place: Point = Field(description="coordinates on the map")
    removed: bool = Field(description="true if the item is no longer recommended; it stays in histories")

    @classmethod
    def of(cls, engine: InferenceEngine, number: int) -> "Item":
        """Describe the item with this number."""
        return cls(
            item_id=engine.items[number],
            title=engine.titles[number],
            categories=engine.kinds[number],
            place=engine.places[number].tolist(),
            removed=number in engine.removed,
        )


class InfluentialItem(BaseModel):
    """An item of the history that changed the score of a recommendation."""

    item_id: str
    title: str
    change: float = Field(
        description="change of the recommended item's log softmax score over the catalogue due to this item"
    )
    event: str = Field("", description='what the user did and when, such as "purchase, 3 days ago"; empty if unknown')


class ItemExplanation(BaseModel):
    """Reasons for a recommendation."""

    text: str | None = Field(description="user preference written by the model; null if there is none, or not yet")
    influences: list[InfluentialItem] = Field(description="items of the history, largest change first")
    shares: dict[str, float] = Field(description="share of each score term, from 0 to 1")


class RecommendedItem(Item):
    """A recommended item."""

    score: float = Field(description="comparable only within one list")
    rank: int = Field(description="from 1")
    source: Source = Field(description="popularity if the user has no history, else deftrec")
    explanation: ItemExplanation | None = None
    rules: list[str] = Field([], description="what rules did to the item, if an explanation was requested")

    @classmethod
    def found(cls, engine: InferenceEngine, one: Recommendation) -> "RecommendedItem":
        """Convert the library's recommendation."""
        item, why, explanation = Item.of(engine, engine.numbers[str(one.item)]), one.explanation, None
        if why is not None:
            influences = [
                InfluentialItem(item_id=str(by.item), title=by.title, change=by.change, event=by.event)
                for by in why.influences
            ]
            explanation = ItemExplanation(text=why.text, influences=influences, shares=why.shares)
        more = {"score": one.score, "rank": one.rank, "source": one.source, "rules": list(one.rules)}
        return cls(**item.model_dump(), **more, explanation=explanation)


class ModelVersion(BaseModel):
    """Run that produced the response."""

    run: str
    version: str = Field(description="changes with the weights, the catalogue and the run's histories")

    @classmethod
    def of(cls, engine: InferenceEngine) -> "ModelVersion":
        """Name the run of an engine."""
        return cls(run=engine.name, version=engine.version)


class SimilarItems(BaseModel):
    """Items similar to another item, most similar first."""

    items: list[RecommendedItem]
    model: ModelVersion

    @classmethod
    def of(cls, engine: InferenceEngine, found: list[Recommendation], **more: Any) -> Self:
        """Convert the library's recommendations; `more` holds the fields of a subclass."""
        items = [RecommendedItem.found(engine, one) for one in found]
        return cls(items=items, model=ModelVersion.of(engine), **more)


class HeldBackItem(BaseModel):
    """An item that would stand in the list without the rules."""

    item_id: str
    title: str
    rule: str = Field(description="rule that held it back")


class RecommendationList(SimilarItems):
    """Recommended items, best first."""

    held_back: list[HeldBackItem] = Field(
        description="items that rules held back, if an explanation was requested, best first"
    )
    notes: list[str] = Field(description="why the list is shorter than k, and what quotas and pins could not do")
    history_length: int
    understood: list[str] = Field([], description="how the request in words was read, a line for each part")
    seconds: dict[str, float] = Field(description="by stage: store, queue, generate, retrieve, explain, total")

    @classmethod
    def made(cls, engine: InferenceEngine, found: Recommendations, **more: Any) -> Self:
        """Convert the library's list; `more` holds the other fields."""
        held = [HeldBackItem(item_id=str(one.item), title=one.title, rule=one.rule) for one in found.held_back]
        return cls.of(engine, found, held_back=held, notes=list(found.notes), **more)


class HistoryItem(Item):
    """An item of a history, and what the user did."""

    event: str = Field("", description='kind and time in words, such as "purchase, 3 days ago"; empty if unknown')
    kind: str | None = Field(None, description="kind of event; null if unknown")
    value: float | None = Field(None, description="rating or amount; null if there is none")
    time: float | None = Field(None, description="seconds since 1970; null if unknown")


class UserHistory(BaseModel):
    """Items that a user interacted with."""

    user_id: str
    items: list[HistoryItem] = Field(description="oldest first: the run's data, then stored events")
    unknown: int = Field(description="number of stored events whose item is not in the run's catalogue")


class UserErased(BaseModel):
    """Result of an erasure."""

    user_id: str
    events: int = Field(description="number of stored events that were deleted")


class User(BaseModel):
    """A user of the run's data."""

    user_id: str
    items: int = Field(description="number of items in the history")


class Users(BaseModel):
    """Users of the run's data."""

    users: list[User]


class Items(BaseModel):
    """Items of the catalogue."""

    items: list[Item]


class ItemMap(BaseModel):
    """Item latents projected on their two principal axes."""

    items: list[Item] = Field(description="all items, or the most popular ones")
    shares: Point = Field(description="share of the variance on each axis")


class PathQuery(RequestBody):
    """A history and the seeds of its denoising paths."""

    history: list[Id] = Field(min_length=1, description="item ids, oldest first")
    seeds: list[Seed] = Field([0], min_length=1, max_length=8, description="random seeds; one path per seed")


class DenoisingPaths(BaseModel):
    """Denoising paths on the map, one point per step."""

    paths: list[list[Point]]


class ModelCapabilities(BaseModel):
    """Optional features of the run."""

    explain: bool
    words: bool = Field(description="whether explanations include a preference written by the model")
    requests: bool = Field(description="whether the run has learnt requests in words, by `deftrec requests RUN`")
    new_items: bool = Field(description="whether items can be added to the catalogue by their description")
    new_items_reason: str = Field(description="reason; if items cannot be added, also how to change that")


class EventSignals(BaseModel):
    """Signals of events that the run reads."""

    kinds: dict[str, str] = Field(description="role of each kind: target, context or negative; empty: no kinds")
    values: bool = Field(description="whether events have values")
    liked: dict[str, str | float] | None = Field(description="kind or value of an event that says: liked; null: none")
    disliked: dict[str, str | float] | None = Field(description="the same for: disliked; null: none")


class ModelDetails(ModelVersion):
    """The run, its data and the limits of a request."""

    dataset: str
    users: int
    items: int
    categories: list[str]
    capabilities: ModelCapabilities
    events: EventSignals
    attributes: list[str] = Field(description="attributes of the items, which rules can name")
    limits: dict[str, int]


class ModelSwitch(RequestBody):
    """Run to serve next."""

    run: str = Field(min_length=1, max_length=128, description="name of a run directory beside the present one")


class Health(BaseModel):
    """State of the service."""

    status: Literal["ok"] = "ok"
