"""The time, or the one that SOURCE_DATE_EPOCH fixes so that equal runs give equal bytes."""

import datetime
import os


def timestamp() -> str:
    """Now in UTC, as 2026-01-31T12:00:00Z."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if fixed is not None and fixed.isdecimal():
        now = datetime.datetime.fromtimestamp(int(fixed), datetime.UTC)
    else:
        now = datetime.datetime.now(datetime.UTC)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")
