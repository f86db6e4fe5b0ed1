"""The secrets of one worker: where their values come from, and the gate through which no known value passes.

A value is known from when it was first revealed. It is looked for as it is and as it is usually written: in JSON (also
in JSON within JSON), as `repr` and `ascii` show it or its bytes, percent-encoded, in base64 and in hexadecimal. What
user code makes of it otherwise (a part of it, a hash, a compressed form) can't be recognised.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any, NamedTuple, TypeAlias, cast, final
from urllib.parse import quote, quote_plus

from relight.errors import InvalidValueError, SecretExposedError, SecretNotFoundError
from relight.sdk._values_path import at_name, joined

__all__ = ("KNOWN_MAX", "LENGTH_MIN", "SecretProvider", "Secrets", "from_environment")

SecretProvider: TypeAlias = Callable[[str], str | None]
"""Returns a secret's value by its name; None, or a `LookupError`, says that there is none."""

LENGTH_MIN = 8
"""A shorter value stands in too many texts by chance: the gate would refuse what has nothing to do with it."""
KNOWN_MAX = 256
"""Values that the gate knows at a time; the one that was revealed least recently goes first."""

_JSON_LAYERS = 3
_LINE_MIN = 16
_PREFIX = "RELIGHT_SECRET_"
_QUOTES = "'\""
_URL_SAFE = ("", "/", "!$&'()*+,;=", "!$&'()*+,;=:@/?")
"""What stays as it is: nothing, by default in `urllib.parse.quote`, before a host and in a query by RFC 3986."""
_ESCAPE = re.compile(r"%[0-9A-F]{2}")


class _Form(NamedTuple):
    """One way in which a known value may be written."""

    secret: str
    text: str
    data: bytes


def from_environment(name: str) -> str | None:
    """Return the variable `RELIGHT_SECRET_<NAME>`: in capitals, with `_` for what is no letter or digit."""
    return os.environ.get(_variable(name))


@final
class Secrets:
    """Resolves secrets for the steps of one worker, and knows what it has revealed. May be used in any thread.

    Attributes:
        is_used: Whether any value is known.
    """

    def __init__(self, provider: SecretProvider | None = None) -> None:
        self._provider = provider or from_environment
        self._values: dict[str, str] = {}
        self._texts: dict[str, set[str]] = {}
        self._forms: tuple[_Form, ...] = ()
        self.is_used = False
        self._lock = Lock()

    def reveal(self, name: str) -> str:
        """Return the value of today and know it from now on.

        Raises:
            SecretNotFoundError: The provider has none of this name.
            InvalidValueError: It is shorter than `LENGTH_MIN` characters, or no text.
        """
        try:
            value = self._provider(name)
        except LookupError:
            value = None
        if value is None:
            remedy = f"set {_variable(name)}" if self._provider is from_environment else "add it where they are kept"
            raise SecretNotFoundError(name, remedy)
        if not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # what users may pass
            raise InvalidValueError(f"secret {name!r}", "", f"its value is no text but {type(value).__name__}", "a str")
        if len(value.strip()) < LENGTH_MIN:
            problem = f"its value has fewer than {LENGTH_MIN} characters, so that it can't be told from other text"
            raise InvalidValueError(f"secret {name!r}", "", problem, "use a longer one")
        if self._values.get(value) != name:
            self._learn(name, value)
        elif next(reversed(self._values)) != value:
            self._renew(name, value)
        return value

    def check(self, data: bytes, *, what: str, root: str) -> None:
        """Refuse the JSON of a value that a known secret stands in. Raises `SecretExposedError`."""
        for form in self._forms:
            if form.data in data:
                raise SecretExposedError(form.secret, what, self.redacted(f"{root}{self._path(data, form.secret)}"))

    def redacted(self, text: str) -> str:
        """Return a text with `[secret NAME]` in place of known values."""
        for form in self._forms:
            if form.text in text:
                text = text.replace(form.text, f"[secret {form.secret}]")
        return text

    def redacted_line(self, line: dict[str, Any]) -> dict[str, Any]:
        """Return what a log line says with `[secret NAME]` in place of known values."""
        return {key: self._shown(value) for key, value in line.items()} if self._forms else line

    def _shown(self, value: object) -> object:
        text = value if isinstance(value, str) else repr(value)
        redacted = self.redacted(text)
        return value if redacted == text else redacted

    def _learn(self, name: str, value: str) -> None:
        with self._lock:
            values = {one: of for one, of in self._values.items() if one != value}
            values[value] = name
            while len(values) > KNOWN_MAX:
                del values[next(iter(values))]
            self._values = values
            self._texts = {one: self._texts.get(one) or _forms(one) for one in values}
            # The longest first, so that a secret within another one does not leave the rest of it.
            forms = {text: of for one, of in values.items() for text in self._texts[one]}
            longest_first = sorted(forms.items(), key=lambda form: -len(form[0]))
            self._forms = tuple(_Form(of, text, text.encode("utf-8", "surrogatepass")) for text, of in longest_first)
            self.is_used = True

    def _renew(self, name: str, value: str) -> None:
        """Give a known value the place of the latest. Other threads may have forgotten it meanwhile."""
        with self._lock:
            is_known = value in self._values
            if is_known:
                self._values = {one: of for one, of in self._values.items() if one != value} | {value: name}
        if not is_known:
            self._learn(name, value)

    def _path(self, data: bytes, secret: str) -> str:
        try:
            value: object = json.loads(data)
        except ValueError:
            return ""
        return next(_places(value, [form.text for form in self._forms if form.secret == secret]), "")


def _places(value: object, texts: Sequence[str]) -> Iterator[str]:
    """Where one of the texts stands, as far down as it goes; a key that holds it is not named."""
    if isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            if any(text in key for text in texts):
                yield " (in a key)"
            else:
                yield from (joined(at_name(key), rest) for rest in _places(item, texts))
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[object]", value)):
            yield from (joined(f"[{index}]", rest) for rest in _places(item, texts))
    else:
        leaf = value if isinstance(value, str) else json.dumps(value)
        if any(text in leaf for text in texts):
            yield ""


def _variable(name: str) -> str:
    return _PREFIX + "".join(one if one.isalnum() else "_" for one in name).upper()


def _forms(value: str) -> set[str]:
    """The ways in which a value may be written, each as it is and in up to three layers of JSON."""
    # Who reads a secret from a file strips it; lines come apart where a text is indented, as in tracebacks of groups.
    forms = {form for text in (value, value.strip(), *_lines(value)) for form in _written(text)}
    for _ in range(_JSON_LAYERS):
        forms |= {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in forms for ascii_only in (False, True)}
    return forms


def _lines(value: str) -> list[str]:
    """The lines of a value that has several, without those that say nothing: all keys begin and end alike."""
    lines = value.strip().splitlines()
    return [] if len(lines) == 1 else [one for one in lines if len(one) >= _LINE_MIN and not one.startswith("-----")]


def _written(text: str) -> Iterator[str]:
    data = text.encode("utf-8", "backslashreplace")
    yield text
    yield data.decode()
    yield from (repr(text)[1:-1], repr(data)[2:-1], ascii(text)[1:-1])
    # As it stands in a text with both quotes, for which one of them is escaped.
    yield from (repr(_QUOTES + text)[4:-1], repr(_QUOTES.encode() + data)[5:-1], ascii(_QUOTES + text)[4:-1])
    yield quote_plus(data)
    for safe in _URL_SAFE:
        yield (quoted := quote(data, safe=safe))
        yield _ESCAPE.sub(lambda escape: escape[0].lower(), quoted)
    yield data.hex()
    yield data.hex().upper()
    # What of it is the same wherever it stands in something that is encoded as a whole.
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        end = (before + len(data)) * 8 // 6
        for encode in (b64encode, urlsafe_b64encode):
            yield encode(b"\0" * before + data)[skipped:end].decode()
