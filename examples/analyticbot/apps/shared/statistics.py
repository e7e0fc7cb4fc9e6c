"""What a channel's messages amount to. Pure counting, run in the collector's pool."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

TOP_HOURS = 3
TOP_WORDS = 8
WORD = re.compile(r"[^\W\d_]{4,}")
COMMON_WORDS = frozenset(
    "after again also been before from have into more only over that then there this today until what when will with your".split()
)


@dataclass(frozen=True)
class ChannelStatistics:
    """One channel in numbers. Hours are UTC; `top_hours` and `top_words` are [item, count], most frequent first."""

    channel: str
    messages: int
    authors: int
    views: int
    reactions: int
    forwards: int
    engagement_rate: float
    """Reactions and forwards in percent of views; 0 without views."""
    top_hours: list[list[int]]
    top_words: list[list[Any]]
    first_message: str | None
    last_message: str | None
    skipped_lines: int
    """Lines that are not a message, such as one still being written."""


def read_channel(channel: str, file: Path) -> ChannelStatistics:
    """Counts a file of one JSON message a line. Raises OSError when it cannot be read."""
    with open(file, encoding="utf-8", errors="replace") as lines:
        return count_messages(channel, lines)


def count_messages(channel: str, lines: Iterable[str]) -> ChannelStatistics:
    messages = views = reactions = forwards = skipped = 0
    authors: set[int] = set()
    hours: Counter[int] = Counter()
    words: Counter[str] = Counter()
    first: datetime | None = None
    last: datetime | None = None

    for line in lines:
        if not line.strip():
            continue
        try:
            message = json.loads(line)
            date = datetime.strptime(message["date"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
            author, text = int(message["author"]), str(message["text"])
            seen, forwarded = int(message["views"]), int(message["forwards"])
            reacted = sum(int(count) for count in message["reactions"].values())
        except (ValueError, TypeError, KeyError, AttributeError):
            skipped += 1
            continue
        messages += 1
        views += seen
        reactions += reacted
        forwards += forwarded
        authors.add(author)
        hours[date.hour] += 1
        words.update(word for word in WORD.findall(text.lower()) if word not in COMMON_WORDS)
        first = date if first is None else min(first, date)
        last = date if last is None else max(last, date)

    return ChannelStatistics(
        channel=channel,
        messages=messages,
        authors=len(authors),
        views=views,
        reactions=reactions,
        forwards=forwards,
        engagement_rate=round(100 * (reactions + forwards) / views, 3) if views else 0.0,
        top_hours=_top(hours, TOP_HOURS),
        top_words=_top(words, TOP_WORDS),
        first_message=_rfc3339(first),
        last_message=_rfc3339(last),
        skipped_lines=skipped,
    )


def _top(counter: Counter, size: int) -> list[list[Any]]:
    # Ties by item: equal input must give equal statistics, whatever its order.
    ranked = sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))
    return [[item, count] for item, count in ranked[:size]]


def _rfc3339(date: datetime | None) -> str | None:
    return None if date is None else date.strftime("%Y-%m-%dT%H:%M:%SZ")
