"""`Secret`: the name of a value that only steps see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, final

from pydantic_core import CoreSchema, SchemaSerializer, core_schema

from relight.errors import InvalidValueError, NotDurableError, RefusedError
from relight.sdk._known_secrets import Secrets
from relight.sdk._scope import SCOPE, StepScope

__all__ = ("Secret",)

_KEY = "$relight.secret"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,127}")


@final
@dataclass(frozen=True, slots=True)
class Secret:
    """A reference to a secret by its name; the value is never recorded.

    It is passed like any other value, also within models, and written as `{"$relight.secret": NAME}`. A step reveals
    it: `key = stripe_key.reveal()`. What a step returns, leaves or sends is refused if a revealed value stands in it,
    and errors and log lines show `[secret NAME]` instead.

    Attributes:
        name: By which the worker's `secrets=` finds the value; not the value itself.

    Raises:
        InvalidValueError: The name is not of letters, digits and `_./-`, at most 128.
    """

    name: str

    def __post_init__(self) -> None:
        name: object = self.name
        if not isinstance(name, str) or not _NAME.fullmatch(name):  # pyright: ignore[reportUnnecessaryIsInstance]  # what users may pass
            # Not shown: who mistakes the value for the name must not find it in a log.
            problem = "it is not 1 to 128 letters, digits and _./-, the first a letter or digit"
            raise InvalidValueError("the name of a Secret", "", problem, "pass the name, never the value")

    def reveal(self) -> str:
        """Return the value, in a step. Each call asks the worker's provider, so that a rotated secret is the new one.

        In an async step the provider is asked on the worker's loop: it must be quick, or the step sync.

        Raises:
            SecretNotFoundError: The worker has none of this name; another attempt may find it.
            InvalidValueError: It is shorter than 8 characters.
            NotDurableError: This is a workflow.
            RefusedError: This is neither a step nor a workflow.
        """
        scope = SCOPE.get()
        if scope is None:
            raise RefusedError(f"{self!r}: only a step can reveal a secret; pass it to one")
        if not isinstance(scope, StepScope):
            raise NotDurableError(f"the value of {self!r}", "reveal it in the @step that needs it")
        # A step that simply runs, in a unit test for example, has no worker; the environment is there all the same.
        return (scope.secrets or Secrets()).reveal(self.name)

    def __repr__(self) -> str:
        return f"Secret({self.name!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> CoreSchema:
        return _SCHEMA


def _reference(secret: Secret) -> dict[str, str]:
    return {_KEY: secret.name}


def _schema() -> CoreSchema:
    field = core_schema.typed_dict_field(core_schema.str_schema(strict=True))
    reference = core_schema.no_info_after_validator_function(
        lambda read: Secret(read[_KEY]), core_schema.typed_dict_schema({_KEY: field}, extra_behavior="forbid")
    )
    return core_schema.json_or_python_schema(
        json_schema=reference,
        python_schema=core_schema.union_schema([core_schema.is_instance_schema(Secret), reference]),
        serialization=core_schema.plain_serializer_function_ser_schema(_reference, when_used="json"),
    )


_SCHEMA = _schema()
_SERIALIZER: Any = SchemaSerializer(_SCHEMA)
# By which pydantic writes it where no annotation says what it is.
Secret.__pydantic_serializer__ = _SERIALIZER  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
