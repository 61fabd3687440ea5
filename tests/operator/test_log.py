"""Log lines."""

import json
import logging

from finetune_operator.shell.log import JsonFormatter, PlainFormatter


def record(**extra: object) -> logging.LogRecord:
    made = logging.LogRecord("finetune_operator.x", logging.INFO, "x.py", 1, "reconciled %s", ("once",), None)
    made.created = 1795424400.25
    vars(made).update(extra)
    return made


def test_json_lines_hold_text_and_fields() -> None:
    assert json.loads(JsonFormatter().format(record(job="qwen", attempt=2))) == {
        "time": "2026-11-23T09:00:00.250+00:00",
        "level": "info",
        "logger": "finetune_operator.x",
        "event": "reconciled once",
        "job": "qwen",
        "attempt": 2,
    }


def test_plain_lines_are_short() -> None:
    assert PlainFormatter().format(record(job="qwen")) == "09:00:00 INFO    reconciled once job=qwen"


def test_exceptions_are_part_of_the_line_in_json() -> None:
    made = record()
    made.exc_info = (ValueError, ValueError("boom"), None)

    assert json.loads(JsonFormatter().format(made))["exception"].endswith("ValueError: boom")
