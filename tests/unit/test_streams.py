"""What exists under the name of a stream or consumer of ours: taken as it is, or refused with the setting's name."""

from __future__ import annotations

import pytest

from relight import IncompatibleStreamError
from relight.actors.jetstream.streams import (
    Config,
    check_consumer,
    check_stream,
    consumer_config,
    stream_config,
)
from relight.config.limits import LIMITS

STREAM = stream_config("shop", 0, 1, replicas=3)
CONSUMER = consumer_config("shop", "wake", "default", LIMITS)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("subjects", ["relight.shop.log.>"]),
        ("storage", "memory"),
        ("retention", "workqueue"),
        ("discard", "new"),
        ("max_msgs", 1_000),
        ("max_bytes", 1_000_000),
        ("max_age", 3_600_000_000_000),
        ("max_msgs_per_subject", 1),
        ("max_msg_size", 1_000),
        ("max_consumers", 2),
        ("mirror", {"name": "other"}),
        ("sources", [{"name": "other"}]),
        ("subject_transform", {"src": ">", "dest": "x.>"}),
        ("sealed", True),
        ("no_ack", True),
        ("deny_purge", True),
        ("allow_msg_counter", True),
        ("persist_mode", "async"),
        ("num_replicas", 1),
        ("metadata", {"relight-protocol": "2"}),
    ],
)
def test_a_stream_with_another_setting_is_refused(setting: str, value: object) -> None:
    found: Config = {**STREAM, setting: value}

    with pytest.raises(
        IncompatibleStreamError, match=f"RELIGHT_shop_RUN_0 exists with (metadata )?.*{setting}"
    ) as refused:
        check_stream(found, STREAM)
    assert "it was left as it is" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [{"num_replicas": 5}, {"description": "ours"}, {"max_msgs": -1, "max_age": 0}, {"persist_mode": "default"}],
    ids=str,
)
def test_a_stream_that_will_do_is_left_as_it_is(change: Config) -> None:
    assert check_stream({**STREAM, **change}, STREAM) is None


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("filter_subject", "relight.shop.start.*.default.*"),
        ("deliver_policy", "new"),
        ("ack_policy", "none"),
        ("ack_wait", 30_000_000_000),
        ("max_ack_pending", 1_000),
        ("max_deliver", 5),
        ("deliver_subject", "elsewhere"),
        ("backoff", [1_000_000_000]),
        ("priority_policy", "pinned_client"),
        ("headers_only", True),
    ],
)
def test_a_consumer_with_another_setting_is_refused(setting: str, value: object) -> None:
    check_consumer("RELIGHT_shop_RUN_0", {**CONSUMER, "description": "ours"}, CONSUMER)

    with pytest.raises(
        IncompatibleStreamError, match=f"consumer wake-default of RELIGHT_shop_RUN_0 exists with {setting}"
    ):
        check_consumer("RELIGHT_shop_RUN_0", {**CONSUMER, setting: value}, CONSUMER)
