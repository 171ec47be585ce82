"""What a run can do with what it has never seen, and what would mend it where it cannot."""

from dataclasses import dataclass

from deftrec.config import Config
from deftrec.errors import ConfigError
from deftrec.run import RunInfo


@dataclass(frozen=True)
class Capability:
    """One thing that a run can do or not.

    Attributes:
        able: whether it can.
        reason: why, in one line; where it cannot, with the mend.
    """

    able: bool
    reason: str

    def __bool__(self) -> bool:
        return self.able

    def require(self, what: str) -> None:
        """Go on only if it can.

        Raises:
            ConfigError: it cannot; the message says why, and the mend.
        """
        if not self.able:
            raise ConfigError(f"this run cannot {what}: {self.reason}")


@dataclass(frozen=True)
class Capabilities:
    """What a run can do.

    Attributes:
        unseen_users: recommend to users that it was not trained on.
        unseen_items: recommend items that it was not trained on.
        text: read the items' words.
    """

    unseen_users: Capability
    unseen_items: Capability
    text: Capability

    @classmethod
    def of(cls, config: Config, info: RunInfo, scaled: bool) -> "Capabilities":
        """Those of a run.

        Args:
            config: its options, resolved.
            info: where its weights come from.
            scaled: whether it knows how its features were scaled.
        """
        users = Capability(True, "a user's tokens come from the history alone; no table of users is read")
        return cls(users, _items(config, info, scaled), _text(info))


def _text(info: RunInfo) -> Capability:
    if info.text_width:
        return Capability(True, "items are read with their title, category and text")
    return Capability(
        False,
        "its items have no text vectors; give them a title, category or text ('deftrec data import --items FILE') and "
        "train with text.model minilm",
    )


def _items(config: Config, info: RunInfo, scaled: bool) -> Capability:
    text = _text(info)
    if not text:
        return Capability(False, f"{text.reason}; nothing else tells a new item from another")
    if not scaled:
        return Capability(
            False, "it was written before runs kept how their features were scaled; train it again (deftrec train)"
        )
    if info.collaborative_width and not config.tokenizer.drop_collaborative:
        return Capability(
            False,
            "in its training text alone never had to serve; train with tokenizer.drop_collaborative above 0 (auto is)",
        )
    return Capability(True, "the collaborative half was masked in training, so that text alone serves")
