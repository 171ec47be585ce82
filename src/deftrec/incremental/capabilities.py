"""Whether a run can serve unseen users and items, and the remedy where it cannot."""

from dataclasses import dataclass

from deftrec.config import Config
from deftrec.errors import ConfigError
from deftrec.run import RunInfo


@dataclass(frozen=True)
class Capability:
    """Whether a run is `able` to do something, and the `reason` in one line, with the remedy where it is not."""

    able: bool
    reason: str

    def __bool__(self) -> bool:
        return self.able

    def require(self, what: str) -> None:
        """Raise a `ConfigError` with the reason if the run is not able to do `what`."""
        if not self.able:
            raise ConfigError(f"this run cannot {what}: {self.reason}")


@dataclass(frozen=True)
class Capabilities:
    """Whether a run can recommend to users and items that it was not trained on, and reads the items' text."""

    unseen_users: Capability
    unseen_items: Capability
    text: Capability

    @classmethod
    def of(cls, config: Config, info: RunInfo) -> "Capabilities":
        """Capabilities of a run with the resolved options `config` and the record `info`."""
        users = Capability(True, "a user's tokens come from the history alone; no table of users is read")
        text = Capability(True, "items are read with their title, category and text")
        items = Capability(True, "the collaborative half was masked in training, so that text alone suffices")
        if not info.text_width:
            remedy = "give them a title, category or text when the data are imported, and train with text.model minilm"
            text = Capability(False, f"its items have no text vectors; {remedy}")
            items = Capability(True, "the collaborative half was masked in training, so that attributes alone suffice")
        if not info.text_width and not info.attributes:
            items = Capability(False, f"{text.reason}; nothing else tells a new item from another")
        elif info.collaborative_width and not config.tokenizer.drop_collaborative:
            remedy = "train with tokenizer.drop_collaborative above 0 (auto is)"
            items = Capability(False, f"it was never trained on text alone; {remedy}")
        return cls(users, items, text)
