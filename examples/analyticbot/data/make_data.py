"""Writes the message files beside it; the same every time."""

import json
import random
from datetime import datetime, timedelta
from pathlib import Path

# name, user, subscribers, messages, busiest hour, then sentences to fill
CHANNELS = [
    ("city_transit", 101, 18400, 320, 7, "delays on {}|{} is running again|works near {} this weekend|night service changes at {}",
     "the harbour line|tram nine|central station|the northern bridge|the airport express|the old tunnel"),
    ("home_kitchen", 101, 9200, 240, 17, "slow roasted {} for a cold evening|how we keep {} crisp|{} in twenty minutes|readers ask about {}",
     "pumpkin with thyme|sourdough crust|lentils and lemon|cabbage rolls|tomato butter|plum dumplings"),
    ("market_digest", 102, 31700, 380, 15, "{} closed higher after a quiet morning|analysts disagree about {}|{} slips on thin volume|week ahead: {}",
     "copper futures|regional banks|wheat exports|the bond auction|shipping rates|solar makers"),
    ("weekend_trails", 103, 5600, 210, 19, "{} is open, bring warm layers|fog and first snow on {}|loop of the week: {}|water refilled at {}",
     "the ridge path|the lower gorge|the lakeside meadow|the shepherd huts|the eastern summit"),
]
FOLDER = Path(__file__).parent
START = datetime(2025, 10, 1)


def messages(seed, subscribers, count, busiest_hour, sentences, subjects):
    chance = random.Random(seed)
    dates = sorted(
        START + timedelta(days=chance.randrange(45), hours=round(chance.gauss(busiest_hour, 3.5)) % 24, seconds=chance.randrange(3600))
        for _ in range(count)
    )
    for number, date in enumerate(dates, start=1):
        views = int(subscribers * chance.uniform(0.15, 0.65))
        yield {
            "id": number,
            "date": date.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "author": chance.randrange(5001, 5012),
            "text": chance.choice(sentences.split("|")).format(chance.choice(subjects.split("|"))).capitalize(),
            "views": views,
            "forwards": int(views * chance.uniform(0, 0.01)),
            "reactions": {face: int(views * chance.uniform(0, share)) for face, share in (("👍", 0.02), ("🔥", 0.01))},
        }


for seed, (name, _, subscribers, *shape) in enumerate(CHANNELS):
    lines = (json.dumps(message, ensure_ascii=False, separators=(",", ":")) for message in messages(seed, subscribers, *shape))
    (FOLDER / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
listing = [{"name": name, "user_id": user_id, "subscribers": subscribers} for name, user_id, subscribers, *_ in CHANNELS]
(FOLDER / "channels.json").write_text(json.dumps(listing, indent=1) + "\n", encoding="utf-8")
