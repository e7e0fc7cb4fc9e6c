from conftest import message

from apps.shared.statistics import ChannelStatistics, count_messages


def test_counts_what_a_person_counts():
    lines = [
        message("2025-10-02T07:10:00Z", author=1, text="Herons nest near the harbour", views=100, forwards=2, like=3, fire=1),
        message("2025-10-01T07:50:00Z", author=2, text="The harbour, HARBOUR seals!", views=50, forwards=0, like=2),
        message("2025-10-03T21:00:00Z", author=1, text="", views=50, forwards=0),
    ]
    assert count_messages("coast", lines) == ChannelStatistics(
        channel="coast",
        messages=3,
        authors=2,
        views=200,
        reactions=6,
        forwards=2,
        engagement_rate=4.0,
        top_hours=[[7, 2], [21, 1]],
        top_words=[["harbour", 3], ["herons", 1], ["near", 1], ["nest", 1], ["seals", 1]],
        first_message="2025-10-01T07:50:00Z",
        last_message="2025-10-03T21:00:00Z",
        skipped_lines=0,
    )


def test_a_line_that_is_no_message_is_skipped_and_counted():
    lines = [message(), "\n", '{"date": "2025-10-01T0', "[1]\n", '{"text": "no date"}\n', message(date="yesterday")]
    statistics = count_messages("coast", lines)
    assert (statistics.messages, statistics.skipped_lines) == (1, 4)


def test_a_channel_without_messages():
    statistics = count_messages("coast", [])
    assert (statistics.messages, statistics.engagement_rate, statistics.top_hours, statistics.first_message) == (0, 0.0, [], None)
