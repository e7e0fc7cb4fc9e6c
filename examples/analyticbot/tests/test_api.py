import asyncio
import contextlib
import json

from conftest import message

from apps.api.main import app
from apps.shared import store
from apps.shared.statistics import count_messages


def get(path, method="GET"):
    """Status and JSON body, as an ASGI server would get them."""
    sent = []

    async def send(event):
        sent.append(event)

    asyncio.run(app({"type": "http", "method": method, "path": path}, None, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_before_the_first_collection(database):
    assert get("/health")[1]["status"] == "healthy"
    assert get("/channels") == (200, {"channels": []})
    assert get("/channels/birds")[0] == 404
    assert not database.exists()


def test_serves_what_was_collected(database):
    with contextlib.closing(store.connect(database)) as connection:
        store.save(connection, count_messages("birds", [message()]))
    status, body = get("/channels")
    assert (status, [channel["channel"] for channel in body["channels"]]) == (200, ["birds"])
    status, body = get("/channels/birds")
    assert (status, body["messages"], body["top_hours"]) == (200, 1, [[7, 1]])
    assert get("/channels/'; DROP TABLE channel_statistics; --")[0] == 404
    assert get("/channels/birds", "DELETE")[0] == 405
    assert get("/elsewhere")[0] == 404


def test_a_damaged_database(database):
    database.parent.mkdir()
    database.write_text("this is no database, but long enough to be taken for one" * 100)
    assert get("/channels")[0] == 503
    assert get("/health")[0] == 200
