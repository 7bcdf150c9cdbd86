"""Generated user documents, the workload of demo, tests and benchmarks. Seeded."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

WORDS = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "member",
    "law",
    "car",
    "city",
    "name",
    "président",
    "größe",
    "año",
    "straße",
    "東京",
    "café",
]
FIRST = [
    "Ada",
    "Alan",
    "Barbara",
    "Claude",
    "Donald",
    "Edsger",
    "Frances",
    "Grace",
    "Hedy",
    "Ivan",
    "Jean",
    "John",
    "Katherine",
    "Linus",
    "Margaret",
    "Niklaus",
]
LAST = [
    "Lovelace",
    "Turing",
    "Liskov",
    "Shannon",
    "Knuth",
    "Dijkstra",
    "Allen",
    "Hopper",
    "Lamarr",
    "Sutherland",
    "Bartik",
    "Backus",
    "Johnson",
    "Wirth",
]
CITIES = ("Oslo", "Porto", "São Paulo", "Kyoto", "Nairobi", "Zürich", "Boston", "Lima", "Hanoi", "Perth")
START = datetime(2020, 1, 1, tzinfo=UTC)


def documents(count: int, *, seed: int = 1, first_id: int = 1) -> Iterator[dict[str, Any]]:
    """`count` user documents with ids from `first_id` up: each some 3 to 10 KB of BSON and, in all tables, 40 rows."""
    for number in range(first_id, first_id + count):
        yield document(number, random.Random(seed * 1_000_003 + number))


def document(number: int, rng: random.Random) -> dict[str, Any]:
    """One user. The same number and state of the generator give the same document."""
    made = _Maker(rng)
    size = rng.betavariate(2, 2.6)

    def some(low: int, high: int) -> range:
        return range(round(low + (high - low) * min(1.0, max(0.0, size + rng.uniform(-0.15, 0.15)))))

    first, last = rng.choice(FIRST), rng.choice(LAST)
    return {
        "_id": number,
        "username": f"{first.lower()}.{last.lower()}.{number}",
        "email": f"{first.lower()}.{number}@example.com",
        "first_name": first,
        "last_name": last,
        "age": rng.randint(18, 90),
        "phone": f"+{rng.randint(1, 99)} {rng.randint(10**8, 10**9)}",
        "is_active": rng.random() < 0.9,
        "score": rng.random() * 100,
        "created_at": made.moment(),
        "updated_at": made.moment() if rng.random() < 0.8 else None,
        "addresses": [made.address() for _ in some(1, 3)],
        "profile": made.profile(),
        "education": [made.education() for _ in some(1, 3)],
        "experience": [made.experience() for _ in some(1, 4)],
        "preferences": {
            "language": rng.choice(("en", "de", "fr", "ja")),
            "timezone": rng.choice(("UTC", "Europe/Oslo", "Asia/Tokyo")),
            "theme": rng.choice(("dark", "light")),
            "notifications": {"email": rng.random() < 0.5, "push": rng.random() < 0.5},
            "digest_hour": rng.randint(0, 23),
        },
        "settings": [{"key": f"{rng.choice(WORDS)}.{n}", "value": made.words(1, 4)} for n in some(2, 7)],
        "activity_log": [made.activity() for _ in some(2, 9)],
        "transactions": [made.transaction() for _ in some(2, 9)],
        "messages": [made.message(some(0, 3)) for _ in some(1, 6)],
        "social_media": [made.account() for _ in some(1, 4)],
        "posts": [made.post() for _ in some(1, 6)],
        "groups": [made.group() for _ in some(1, 5)],
        "large_data": {
            "content": made.words(50, 90),
            "checksum": rng.randbytes(16),
            "version": rng.randint(1, 9),
        },
    }


class _Maker:
    """The parts of a user."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def words(self, low: int, high: int) -> str:
        return " ".join(self._rng.choices(WORDS, k=self._rng.randint(low, high)))

    def moment(self) -> datetime:
        return START + timedelta(milliseconds=self._rng.randrange(5 * 365 * 86_400_000))

    def address(self) -> dict[str, Any]:
        rng = self._rng
        return {
            "kind": rng.choice(("home", "work", "other")),
            "street": f"{rng.randint(1, 999)} {self.words(1, 2)} street",
            "city": rng.choice(CITIES),
            "state": rng.choice(WORDS),
            "postal_code": f"{rng.randint(10000, 99999)}",
            "country": rng.choice(("NO", "PT", "BR", "JP", "KE", "CH", "US", "PE", "VN", "AU")),
            "location": {"lat": rng.uniform(-90, 90), "lng": rng.uniform(-180, 180)},
        }

    def profile(self) -> dict[str, Any]:
        return {
            "headline": self.words(4, 8),
            "bio": self.words(20, 45),
            "avatar_url": f"https://img.example.com/{self._rng.getrandbits(64):016x}.png",
            "birth_date": datetime(self._rng.randint(1930, 2006), self._rng.randint(1, 12), 1, tzinfo=UTC),
            "interests": self._rng.sample(WORDS, 5),
            "skills": self._rng.sample(WORDS, 7),
        }

    def education(self) -> dict[str, Any]:
        year = self._rng.randint(1960, 2020)
        return {
            "institution": f"{self._rng.choice(CITIES)} University",
            "degree": self._rng.choice(("BSc", "MSc", "PhD")),
            "field": self.words(1, 2),
            "start_year": year,
            "end_year": year + 4 if self._rng.random() < 0.9 else None,
            "gpa": round(self._rng.uniform(2, 4), 2),
        }

    def experience(self) -> dict[str, Any]:
        current = self._rng.random() < 0.2
        return {
            "company": f"{self.words(1, 2)} Ltd",
            "title": self.words(1, 3),
            "start_date": self.moment(),
            "end_date": None if current else self.moment(),
            "is_current": current,
            "description": self.words(10, 20),
        }

    def activity(self) -> dict[str, Any]:
        rng = self._rng
        return {
            "action": rng.choice(("login", "logout", "view", "edit", "share")),
            "at": self.moment(),
            "ip_address": ".".join(str(rng.randint(1, 254)) for _ in range(4)),
            "duration_ms": rng.randint(1, 100_000),
        }

    def transaction(self) -> dict[str, Any]:
        rng = self._rng
        return {
            "reference": f"T{rng.getrandbits(48):012x}",
            "amount_cents": rng.randint(-100_000, 10_000_000),
            "currency": rng.choice(("EUR", "USD", "JPY")),
            "status": rng.choice(("booked", "pending", "failed")),
            "at": self.moment(),
        }

    def message(self, attachments: range) -> dict[str, Any]:
        rng = self._rng
        return {
            "sender_id": rng.randint(1, 1_000_000),
            "subject": self.words(2, 6),
            "body": self.words(10, 25),
            "is_read": rng.random() < 0.5,
            "sent_at": self.moment(),
            "attachments": [
                {
                    "file_name": f"{rng.choice(WORDS)}-{n}.pdf",
                    "content_type": "application/pdf",
                    "size_bytes": rng.randint(1, 10**9),
                }
                for n in attachments
            ],
        }  # fmt: skip

    def account(self) -> dict[str, Any]:
        return {
            "platform": self._rng.choice(("mastodon", "github", "flickr", "matrix")),
            "handle": f"@{self._rng.choice(FIRST).lower()}{self._rng.randint(1, 9999)}",
            "followers": self._rng.randint(0, 1_000_000),
        }

    def post(self) -> dict[str, Any]:
        return {
            "title": self.words(3, 7),
            "body": self.words(15, 35),
            "likes": self._rng.randint(0, 10_000),
            "at": self.moment(),
            "tags": self._rng.sample(WORDS, self._rng.randint(0, 3)),
        }

    def group(self) -> dict[str, Any]:
        return {
            "group_id": self._rng.randint(1, 10_000),
            "name": self.words(1, 3),
            "role": self._rng.choice(("member", "admin")),
        }
