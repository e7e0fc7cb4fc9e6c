"""A small Telegram analytics product: a collector, a bot and an API that share one SQLite file."""
