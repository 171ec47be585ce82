"""API keys: made once, kept as SHA-256 alone, compared in constant time.

A key is 256 bits drawn by the operating system, so a fast hash is enough: there is nothing to guess from.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deftrec.errors import ConfigError, in_a_line
from deftrec.files import write_text

Scope: TypeAlias = Literal["read", "write", "admin"]
ALLOWS: dict[Scope, frozenset[Scope]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "admin": frozenset({"read", "write", "admin"}),
}
"""What a key of each scope may do: ask; send events too; and erase users, switch models and change items."""


class ApiKey(BaseModel):
    """A key as it is kept.

    Attributes:
        name: who uses it; it stands in the logs.
        scope: what it may do.
        sha256: of the key, in hexadecimal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    scope: Scope
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ApiKeys(BaseModel):
    """The keys of a service, and the file they lie in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: tuple[ApiKey, ...]

    @classmethod
    def load(cls, path: Path) -> "ApiKeys":
        """Read a file that `add_key` wrote.

        Raises:
            ConfigError: it is missing, not such a file, or holds no key.
        """
        try:
            keys = cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else in_a_line(error)[:200]
            raise ConfigError(f"{path}: no file of keys ({reason}); make one with 'deftrec api-key'") from error
        if not keys.keys:
            raise ConfigError(f"{path}: holds no key, so nobody could ask; make one with 'deftrec api-key'")
        return keys

    def find(self, secret: str) -> ApiKey | None:
        """The key that `secret` is, or None. Every key is compared, so that the time tells nothing."""
        digest = _digest(secret)
        found = None
        for key in self.keys:
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found


def add_key(path: Path, name: str, scope: Scope) -> str:
    """Make a key, keep its hash in `path` beside those that are there, and return the key; it is nowhere else.

    Raises:
        ConfigError: the name is taken or no name, or `path` holds something else.
    """
    kept = ApiKeys.load(path).keys if path.exists() else ()
    if any(key.name == name for key in kept):
        raise ConfigError(f"{path}: there is a key {name!r}; choose another name, or take that one out of the file")
    secret = secrets.token_urlsafe(32)
    try:
        key = ApiKey(name=name, scope=scope, sha256=_digest(secret))
    except ValidationError as error:
        raise ConfigError(f"name {name!r}: use letters, digits, '.', '_' and '-', 64 of them at most") from error
    write_text(path, ApiKeys(keys=(*kept, key)).model_dump_json(indent=2) + "\n")
    path.chmod(0o600)
    return secret


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
