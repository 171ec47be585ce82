"""API keys. Only their SHA-256 is stored; comparison takes constant time.

A key has 256 random bits from the operating system, so it cannot be guessed from a fast hash.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from pydantic import BaseModel, Field, ValidationError

from deftrec.errors import ConfigError, in_a_line
from deftrec.files import write_text

Scope: TypeAlias = Literal["read", "write", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""Each scope permits more. read: queries; write: also events; admin: also erasure, model switch and item changes."""


class ApiKey(BaseModel, frozen=True, extra="forbid"):
    """A stored key, as its hash; the name appears in the logs."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    scope: Scope
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ApiKeys(BaseModel, frozen=True, extra="forbid"):
    """Content of a file of keys."""

    keys: tuple[ApiKey, ...]

    @classmethod
    def load(cls, path: Path) -> "ApiKeys":
        """Read a file that `add_key` wrote; a `ConfigError` if it is missing, invalid or holds no key."""
        try:
            keys = cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else in_a_line(error)[:200]
            raise ConfigError(f"{path}: not a file of API keys ({reason}); make one with 'deftrec api-key'") from error
        if not keys.keys:
            raise ConfigError(f"{path}: holds no key, so every request would be refused; run 'deftrec api-key'")
        return keys

    def find(self, secret: str) -> ApiKey | None:
        """Find the key for `secret`. All keys are compared, so that the duration reveals nothing."""
        wanted = digest(secret)
        found = [key for key in self.keys if hmac.compare_digest(key.sha256, wanted)]
        return found[0] if found else None


def add_key(path: Path, name: str, scope: Scope) -> str:
    """Make a key, append its hash to the file `path`, and return the key, which is stored nowhere.

    Raises a `ConfigError` if the name is invalid or exists already, or if `path` is not a file of keys.
    """
    kept = ApiKeys.load(path).keys if path.exists() else ()
    if any(key.name == name for key in kept):
        raise ConfigError(f"{path}: there is already a key {name!r}; choose another name or delete the old key there")
    secret = secrets.token_urlsafe(32)
    try:
        key = ApiKey(name=name, scope=scope, sha256=digest(secret))
    except ValidationError as error:
        raise ConfigError(f"name {name!r}: use at most 64 letters, digits, '.', '_' and '-'") from error
    write_text(path, ApiKeys(keys=(*kept, key)).model_dump_json(indent=2) + "\n")
    path.chmod(0o600)
    return secret


def digest(secret: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
