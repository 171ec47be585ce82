"""What goes in and comes out, as JSON. Ids go in as strings or integers and come out as strings."""

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from deftrec.recommendation import Explanation as Why
from deftrec.recommendation import Recommendation, Source
from deftrec.serving.engine import Engine

ID_LENGTH = 256
INTEGERS = 2**63
IDS = 2**64
"""Past it an integer is no id of any data: as a string it may be one."""
WORDS, TEXT = 1000, 20_000
"""Letters of an item's title or category, and of its text."""


def _as_text(value: object) -> object:
    """`17` and `"17"` are the same id; a truth value is none."""
    if isinstance(value, int) and not isinstance(value, bool) and -INTEGERS <= value < IDS:
        return str(value)
    return value


def _printable(value: str) -> str:
    """Control characters are in no id: a database may not take them, and a log would be broken by them."""
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise ValueError("an id holds no control characters")
    return value


_ID_SCHEMA = {"anyOf": [{"type": "string", "minLength": 1, "maxLength": ID_LENGTH}, {"type": "integer"}]}
Id: TypeAlias = Annotated[
    str,
    Field(min_length=1, max_length=ID_LENGTH),
    BeforeValidator(_as_text),
    AfterValidator(_printable),
    WithJsonSchema(_ID_SCHEMA, mode="validation"),
]
Pair: TypeAlias = Annotated[list[float], Field(min_length=2, max_length=2)]
"""Two numbers; as a list, for few generators of clients know tuples."""
PathId: TypeAlias = Annotated[str, Field(min_length=1, max_length=ID_LENGTH), AfterValidator(_printable)]


class Given(BaseModel):
    """What a client sends; a key that is unknown is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NewItem(Given):
    """What tells an item from others; without any words, what is known of it already."""

    title: str = Field("", max_length=WORDS)
    category: str = Field("", max_length=WORDS, description="several with | between them")
    text: str = Field("", max_length=TEXT, description="whatever else describes it; the model reads its beginning")


class NewEvent(Given):
    """Somebody took something."""

    event_id: Id = Field(description="yours; sent again, the event is kept once")
    user_id: Id
    item_id: Id
    time: float | None = Field(
        None, ge=0, le=1e11, allow_inf_nan=False, description="seconds since 1970; when it arrives, unless said"
    )


class NewEvents(Given):
    """A batch, kept whole or refused whole."""

    events: list[NewEvent] = Field(min_length=1)


class Kept(BaseModel):
    """What became of a batch; it is on disk."""

    stored: int = Field(description="events that are new")
    duplicates: int = Field(description="events that were known already")


class Question(Given):
    """Whom to recommend to, and what may be recommended."""

    user_id: Id | None = Field(None, description="everything known of them counts, the newest events too")
    history: list[Id] | None = Field(None, description="in place of a user: item ids, oldest first")
    k: int = Field(10, ge=1, description="length of the list")
    exclude_seen: bool = Field(True, description="leave out items of the history")
    category: str | None = Field(None, max_length=ID_LENGTH, description="only items of it")
    allow: list[Id] | None = Field(None, description="only these items")
    deny: list[Id] = Field([], description="none of these items")
    samples: int | None = Field(None, ge=1, description="draws of noise that are averaged; as the run, unless said")
    seed: int | None = Field(None, ge=0, lt=INTEGERS, description="of the noise; the run's, unless said")
    explain: bool = Field(False, description="say why; this asks the model once for every item of the history")
    deadline_ms: int | None = Field(None, ge=1, description="give up with 503 after so long, if not sooner")


class Item(BaseModel):
    """An item of the catalogue."""

    item_id: str
    title: str = Field(description="its title, or its id where it has none; plain text")
    categories: list[str]
    place: Pair = Field(description="on the map")
    removed: bool = Field(description="not recommended any more; it stands in histories alone")

    @classmethod
    def of(cls, engine: Engine, number: int) -> "Item":
        """The item of a number."""
        x, y = engine.places[number]
        return cls(
            item_id=engine.items[number],
            title=engine.titles[number],
            categories=engine.kinds[number],
            place=[float(x), float(y)],
            removed=number in engine.removed,
        )


class Influence(BaseModel):
    """Effect of one history item on a recommendation."""

    item_id: str
    title: str
    change: float = Field(
        description="change of the recommended item's log softmax score over the catalogue due to this item"
    )


class Explanation(BaseModel):
    """Why an item was recommended."""

    text: str | None = Field(description="the preference in the model's words, where it has learnt any")
    influences: list[Influence] = Field(description="history items with the largest effect, strongest first")
    shares: dict[str, float] = Field(description="of each part of the score, from 0 to 1")

    @classmethod
    def of(cls, why: Why) -> "Explanation":
        """The library's explanation."""
        influences = [Influence(item_id=str(one.item), title=one.title, change=one.change) for one in why.influences]
        return cls(text=why.text, influences=influences, shares=why.shares)


class Recommended(Item):
    """A recommended item."""

    score: float = Field(description="comparable within one list only")
    rank: int = Field(description="from 1")
    source: Source = Field(description="popularity: for somebody without any history")
    explanation: Explanation | None = None

    @classmethod
    def found(cls, engine: Engine, one: Recommendation) -> "Recommended":
        """The library's recommendation."""
        item = Item.of(engine, engine.numbers[str(one.item)])
        why = None if one.explanation is None else Explanation.of(one.explanation)
        return cls(**item.model_dump(), score=one.score, rank=one.rank, source=one.source, explanation=why)


class Model(BaseModel):
    """The run that answers."""

    run: str
    version: str = Field(description="another one for other weights, and for other items or histories")


class Recommendations(BaseModel):
    """The best items."""

    items: list[Recommended]
    model: Model
    history_length: int
    seconds: dict[str, float] = Field(description="by stage: store, queue, generate, retrieve, explain, total")


class Similar(BaseModel):
    """The items nearest to one."""

    items: list[Recommended]
    model: Model


class UserHistory(BaseModel):
    """What a user took."""

    user_id: str
    items: list[Item] = Field(description="oldest first: the run's data, then stored events")
    unknown: int = Field(description="stored events of items that this run does not know")


class Erased(BaseModel):
    """What was erased."""

    user_id: str
    events: int = Field(description="stored events that are gone")


class User(BaseModel):
    """A user of the run's data."""

    user_id: str
    items: int = Field(description="how many they took")


class Users(BaseModel):
    """Users of the run's data."""

    users: list[User]


class Items(BaseModel):
    """Items of the catalogue."""

    items: list[Item]


class Map(BaseModel):
    """The catalogue's latents on a sheet: their two main axes."""

    items: list[Item] = Field(description="all, or the most popular")
    shares: Pair = Field(description="of the variance, of each axis")


class PathQuestion(Given):
    """After what to denoise."""

    history: list[Id] = Field(min_length=1, description="item ids, oldest first")
    seeds: list[Annotated[int, Field(ge=0, lt=INTEGERS)]] = Field(
        [0], min_length=1, max_length=8, description="one path for each draw of noise"
    )


class Paths(BaseModel):
    """What the denoiser makes of noise, step by step, on the map."""

    paths: list[list[Pair]]


class Capabilities(BaseModel):
    """What the run can do beyond recommending."""

    explain: bool
    words: bool = Field(description="explanations hold a preference in words")
    new_items: bool = Field(description="items may be put into the catalogue by their words")
    new_items_reason: str = Field(description="why; where they may not, with the mend")


class About(Model):
    """The run, its data and the limits of a request."""

    dataset: str
    users: int
    items: int
    categories: list[str]
    capabilities: Capabilities
    limits: dict[str, int]


class Switch(Given):
    """Which run to serve."""

    run: str = Field(min_length=1, max_length=128, description="name of its directory, beside the present one")


class Health(BaseModel):
    """Whether all is well."""

    status: Literal["ok"] = "ok"
