"""Whether a run can serve unseen users and items, and the mend where it cannot."""

from dataclasses import dataclass

from deftrec.config import Config
from deftrec.errors import ConfigError
from deftrec.run import RunInfo


@dataclass(frozen=True)
class Capability:
    """One capability of a run.

    Attributes:
        able: whether the run has it.
        reason: reason in one line, with the mend where it is missing.
    """

    able: bool
    reason: str

    def __bool__(self) -> bool:
        return self.able

    def require(self, what: str) -> None:
        """Refuse a run without this capability.

        Raises:
            ConfigError: it is missing; the message gives the reason and the mend.
        """
        if not self.able:
            raise ConfigError(f"this run cannot {what}: {self.reason}")


@dataclass(frozen=True)
class Capabilities:
    """Capabilities of a run.

    Attributes:
        unseen_users: recommending to users that it was not trained on.
        unseen_items: recommending items that it was not trained on.
        text: reading the items' text.
    """

    unseen_users: Capability
    unseen_items: Capability
    text: Capability

    @classmethod
    def of(cls, config: Config, info: RunInfo) -> "Capabilities":
        """Capabilities of a run.

        Args:
            config: options of the run, resolved.
            info: record of the run.
        """
        users = Capability(True, "a user's tokens come from the history alone; no table of users is read")
        return cls(users, _items(config, info), _text(info))


def _text(info: RunInfo) -> Capability:
    if info.text_width:
        return Capability(True, "items are read with their title, category and text")
    return Capability(
        False,
        "its items have no text vectors; give them a title, category or text ('deftrec data import --items FILE') and "
        "train with text.model minilm",
    )


def _items(config: Config, info: RunInfo) -> Capability:
    text = _text(info)
    if not text:
        return Capability(False, f"{text.reason}; nothing else tells a new item from another")
    if info.collaborative_width and not config.tokenizer.drop_collaborative:
        return Capability(
            False,
            "in its training text alone never had to serve; train with tokenizer.drop_collaborative above 0 (auto is)",
        )
    return Capability(True, "the collaborative half was masked in training, so that text alone serves")
