"""What a message goes through before it leaves the process, in order; and in reverse before anyone reads it."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple, Protocol, final

from relight.config.limits import MIB
from relight.errors import PayloadTooLargeError, RefusedError

__all__ = ("Codec", "DamagedError", "Encryption", "KeyProvider", "Keys", "WrappedKey", "Zstd")

_KEY_BYTES = 32
_NONCE_BYTES = 12
_DECOMPRESSED_MAX = 8 * MIB
"""No message is larger; what says so of itself is not believed."""
_DECOMPRESSED_SMALL_MAX = 1 * MIB
"""Nor is a mailbox message, of which hundreds are read at once, or a chunk of a large value: this is the `max_payload`
that servers have unless told otherwise."""


class DamagedError(Exception):
    """What is to be decoded was changed, belongs elsewhere, or was made with another key."""


class Codec(Protocol):
    """One link of the chain. Its name is stored with what it has encoded: by it a reader finds the codec.

    There is no `:` and no `+` in its name.
    """

    @property
    def name(self) -> str: ...

    def encode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        """Return what is stored.

        Args:
            data: What came from the codec before.
            key: Of this run; empty if no codec of the chain encrypts.
            place: Where it is stored: namespace, run, kind of message (`start`, `log`, `wake` or `value`) and what
                stands readable before it, with NUL between them. What is read elsewhere is to be refused.
        """
        ...

    def decode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        """Return what was encoded. Raises `DamagedError`."""
        ...


@final
class Zstd:
    """Compression; before `Encryption`, for ciphertext does not compress. Needs `relight[zstd]` before Python 3.14."""

    name = "zstd"

    def __init__(self, level: int = 3) -> None:
        self._level = level
        self._module = _imported(("compression.zstd", "zstandard"), extra="zstd")

    def encode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        if len(data) > _decompressed_max(place):
            raise PayloadTooLargeError("the message", size_bytes=len(data), limit_bytes=_decompressed_max(place))
        compressed: bytes = self._module.compress(data, level=self._level)
        return compressed

    def decode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        try:
            size = self._size(data)
            if size is None or size > _decompressed_max(place):
                raise DamagedError("it does not say its size, or that it is too large")
            decompressed = self._decompressed(data, size)
        except (self._module.ZstdError, ValueError) as error:
            raise DamagedError(str(error)) from error
        return decompressed

    def _decompressed(self, data: bytes, size: int) -> bytes:
        """Return what is in the one frame that this is: what others say of their sizes nobody has looked at."""
        decompressor = self._module.ZstdDecompressor()
        if self._module.__name__ == "zstandard":
            return bytes(decompressor.decompress(data, allow_extra_data=False))
        decompressed: bytes = decompressor.decompress(data, max_length=size + 1)
        if not decompressor.eof or decompressor.unused_data:
            raise DamagedError("it is not one frame of the size that it says")
        return decompressed

    def _size(self, data: bytes) -> int | None:
        """What a frame says of its size; if nothing, it is None or far too large."""
        if self._module.__name__ == "zstandard":
            return int(self._module.get_frame_parameters(data).content_size)
        size: int | None = self._module.get_frame_info(data).decompressed_size
        return size


class WrappedKey(NamedTuple):
    """A data key as it is stored: encrypted by the key of this id."""

    key_id: str
    data: bytes


class KeyProvider(Protocol):
    """Wraps the data key of each run. What it has wrapped it must be able to unwrap for as long as runs are read."""

    async def wrap(self, data_key: bytes, *, run: str) -> WrappedKey:
        """Encrypt a data key by the current key. What it raises, the start of the run raises."""
        ...

    async def unwrap(self, wrapped: WrappedKey, *, run: str) -> bytes:
        """Decrypt it. Raises `LookupError` if the key is not known (any more), or does not fit.

        Anything else that it raises says that it is away, and is asked again.
        """
        ...


@final
class Keys:
    """Keys that are at hand: 32 bytes each, by id. To rotate, add one and make it the current one; keep the others.

    Args:
        keys: By id.
        current: Id of the one by which new data keys are wrapped; the last one of `keys` if it is left out.

    Raises:
        RefusedError: There is none, one has not 32 bytes, or the current one is not among them.
    """

    def __init__(self, keys: Mapping[str, bytes], *, current: str | None = None) -> None:
        for id, key in keys.items():
            if len(key) != _KEY_BYTES:
                raise RefusedError(f"encryption key {id!r} has {len(key)} bytes; pass {_KEY_BYTES} random ones")
        if not keys:
            raise RefusedError(f"no encryption key is given; pass at least one, of {_KEY_BYTES} random bytes")
        if current is not None and current not in keys:
            known = ", ".join(keys)
            raise RefusedError(f"the current encryption key {current!r} is not among them; pass one of {known}")
        self._keys = dict(keys)
        self._current = list(keys)[-1] if current is None else current

    @classmethod
    def read(cls, text: str) -> Keys:
        """Read `id:base64,id:base64`; the last one is the current one. Raises `RefusedError`."""
        keys: dict[str, bytes] = {}
        for number, part in enumerate(text.split(","), 1):
            id, colon, encoded = part.strip().partition(":")
            if id in keys:
                raise RefusedError(f"encryption key {id!r} stands twice in RELIGHT_ENCRYPTION_KEYS; one id, one key")
            try:
                keys[id] = b64decode(encoded, validate=True) if id and colon else b""
            except ValueError:
                keys[id] = b""
            if len(keys[id]) != _KEY_BYTES:
                raise RefusedError(
                    f"encryption key {number} of RELIGHT_ENCRYPTION_KEYS is no id:base64 of {_KEY_BYTES} bytes; "
                    "`openssl rand -base64 32` makes one"
                )
        return cls(keys)

    async def wrap(self, data_key: bytes, *, run: str) -> WrappedKey:
        nonce = os.urandom(_NONCE_BYTES)
        data = nonce + _aes(self._keys[self._current]).encrypt(nonce, data_key, run.encode())
        return WrappedKey(self._current, data)

    async def unwrap(self, wrapped: WrappedKey, *, run: str) -> bytes:
        if wrapped.key_id not in self._keys:
            raise LookupError(f"encryption key {wrapped.key_id!r} is not known here")
        nonce, data = wrapped.data[:_NONCE_BYTES], wrapped.data[_NONCE_BYTES:]
        try:
            return bytes(_aes(self._keys[wrapped.key_id]).decrypt(nonce, data, run.encode()))
        except _invalid_tag() as error:
            raise LookupError(f"encryption key {wrapped.key_id!r} is another one here") from error


@final
class Encryption:
    """AES-256-GCM under a data key of each run, which `keys` wraps. Needs `relight[encryption]`."""

    name = "aes256gcm"

    def __init__(self, keys: KeyProvider) -> None:
        self.keys = keys
        _aes(bytes(_KEY_BYTES))  # It says so now if the package is missing.

    def encode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + bytes(_aes(key).encrypt(nonce, data, place))

    def decode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        try:
            return bytes(_aes(key).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], place))
        except (_invalid_tag(), ValueError) as error:
            raise DamagedError("it was changed, belongs elsewhere, or was made with another key") from error


def _decompressed_max(place: bytes) -> int:
    is_small = place.split(b"\0")[2:3] in ([b"wake"], [b"value"])
    return _DECOMPRESSED_SMALL_MAX if is_small else _DECOMPRESSED_MAX


def _aes(key: bytes) -> Any:
    return _imported(("cryptography.hazmat.primitives.ciphers.aead",), extra="encryption").AESGCM(key)


def _invalid_tag() -> type[Exception]:
    kind: type[Exception] = _imported(("cryptography.exceptions",), extra="encryption").InvalidTag
    return kind


def _imported(names: tuple[str, ...], *, extra: str) -> Any:
    for name in names:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise RefusedError(f"{names[-1].partition('.')[0]} is not installed; pip install 'relight[{extra}]'")
