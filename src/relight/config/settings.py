"""What a deployment chooses: read once at the edge from arguments and `RELIGHT_*`, then passed inwards."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self, final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from relight.config.server_config import check_sync
from relight.errors import InvalidIdError, InvalidValueError
