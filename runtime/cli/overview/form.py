"""Plain data as text for programs."""

import json


def to_json(value: object) -> str:
    """JSON over several lines."""
    return json.dumps(value, indent=4, ensure_ascii=False) + "\n"


def to_json_line(value: object) -> str:
    """JSON in one line."""
    return json.dumps(value, ensure_ascii=False) + "\n"
