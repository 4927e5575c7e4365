"""The promises of a store of memories, compared with SQLite and against a real PostgreSQL."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import pytest

from agentlib.faults import Fault
from agentlib.search.embedder import packed, products
from agentlib.search.rank import fused
from memorystore.sqlite import Sqlite
from memorystore.store import Store
from memorystore.vectors import Vectors


@pytest.fixture(scope="session")
def server():
    """The address of a PostgreSQL server of our own, on a Unix socket in a scratch folder."""
    binaries = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not binaries:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    folder = tempfile.mkdtemp(prefix="pg")
    run = started(binaries[-1], folder)
    try:
        deadline = time.monotonic() + 60
        while not os.path.exists(f"{folder}/.s.PGSQL.5432") and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"postgresql://tester@/postgres?host={folder}"
    finally:
        run.send_signal(signal.SIGINT)  # "fast": clients are cut off
        run.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def started(binaries, folder):
    """The server, as a user that is not root: it refuses to be."""
    root = os.getuid() == 0
    user = pwd.getpwnam("nobody") if root else pwd.getpwuid(os.getuid())
    os.chown(folder, user.pw_uid, user.pw_gid)
    plain = {"user": user.pw_uid, "group": user.pw_gid} if root else {}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder, **plain}
    data = [
        f"{binaries}/initdb",
        "-D",
        f"{folder}/data",
        "-A",
        "trust",
        "-N",
        "--no-instructions",
        "-U",
        "tester",
    ]
    subprocess.run(data, check=True, **quiet)
    argv = [
        f"{binaries}/postgres",
        "-D",
        f"{folder}/data",
        "-k",
        folder,
        "-c",
        "listen_addresses=",
        "-c",
        "fsync=off",
    ]
    return subprocess.Popen(argv, **quiet)


@pytest.fixture(params=["sqlite", "postgresql"])
def opener(request, tmp_path):
    """A function that opens the same store again and again."""
    if request.param == "sqlite":
        yield lambda: Store(Sqlite(str(tmp_path / "m.db")))
        return
    url = request.getfixturevalue("server")
    from memorystore.postgres import Postgres

    yield lambda: Store(_patient(Postgres, url))
    database = Postgres(url)
    database.sql("DROP SCHEMA agentutils CASCADE")
    database.db.close()


def _patient(make, url):
    deadline = time.monotonic() + 60
    while True:
        try:
            return make(url)
        except Fault as bad:  # the socket is there a moment before the server takes connections
            if bad.kind != "network" or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.fixture
def store(opener):
    made = opener()
    yield made
    made.db.db.close()


def keep(store, key, value, namespace="default", **more):
    return store.remember(namespace, {"key": key, "value": value, **more})


@pytest.mark.parametrize(
    "value", ["text", 2**53 + 1, 1.5, -0.0, True, None, [], {"a": [1, {"b": "é\u2028"}]}, ""]
)
def test_a_value_comes_back_as_it_was(store, value):
    keep(store, "k", value)
    back = store.recall("default", "k")["value"]
    assert back == value and type(back) is type(value)


def test_the_last_value_wins_and_the_history_is_kept(store):
    for value in (1, 2, 3):
        keep(store, "k", value)
    assert store.recall("default", "k")["value"] == 3
    assert [m["value"] for m in store.history("default", "k")] == [1, 2, 3]


def test_undo_brings_the_value_before(store):
    keep(store, "k", "old")
    keep(store, "k", "new")
    assert store.undo("default", "k") and store.recall("default", "k")["value"] == "old"
    assert [m["value"] for m in store.search("default", "old")] == ["old"] and not store.search(
        "default", "new"
    )
    assert store.undo("default", "k") and store.recall("default", "k") is None
    assert not store.undo("default", "k")


def test_what_is_forgotten_is_neither_recalled_nor_found_and_can_come_back(store):
    keep(store, "k", "zebra")
    assert (
        store.forget("default", "k")
        and store.recall("default", "k") is None
        and not store.search(None, "zebra")
    )
    assert not store.forget("default", "k")
    store.undo("default", "k")
    assert store.recall("default", "k")["value"] == "zebra"


def test_namespaces_are_kept_apart(store):
    keep(store, "k", "mine", "a")
    keep(store, "k", "yours", "b")
    assert store.recall("a", "k")["value"] == "mine" and store.recall("default", "k") is None
    assert [m["value"] for m in store.items(None)] == ["mine", "yours"]
    assert [m["value"] for m in store.search("b", "yours")] == ["yours"] and not store.search(
        "a", "yours"
    )


def test_what_is_expired_is_gone_and_vacuum_drops_it(store):
    keep(store, "k", "short", expires=time.time() - 1)
    keep(store, "l", "long", expires=time.time() + 1000)
    assert store.recall("default", "k") is None and store.recall("default", "l")["expires"]
    assert store.vacuum() == 1 and store.history("default", "k") == []


def test_tags_narrow_lists_and_searches(store):
    keep(store, "a", "fish", tags=["sea"])
    keep(store, "b", "fish")
    assert [m["key"] for m in store.items("default", ["sea"])] == ["a"]
    assert [m["key"] for m in store.search("default", "fish", ["sea"])] == ["a"]


def test_all_words_are_better_than_any(store):
    for key, value in (("a", "red house"), ("b", "red car"), ("c", "blue car")):
        keep(store, key, value)
    assert [m["key"] for m in store.search("default", "red car")] == ["b"]
    assert {m["key"] for m in store.search("default", "blue house")} == {"a", "c"}


@pytest.mark.parametrize(
    "words",
    [
        '"',
        "*",
        "(",
        ")",
        "-",
        ":",
        "^",
        "NEAR",
        "AND OR NOT",
        "'",
        "a:b",
        "'; DROP TABLE versions; --",
        "%s",
        "\0",
        "\\",
        "key:x",
        "a & !b",
    ],
)
def test_words_are_plain_text_whatever_they_hold(store, words):
    keep(store, "k", "plain")
    store.search("default", words)
    assert store.recall("default", "k")["value"] == "plain"


TEXTS = {
    "zh": "今天天气很好我们去公园",
    "ja": "新しいiPhone15を買った、ﾃﾚﾋﾞも",
    "ko": "오늘은날씨가좋습니다",
    "th": "สวัสดีครับวันนี้อากาศดี",
    "lo": "ສະບາຍດີຕອນເຊົ້າ",
    "em": "deploy 🚀 done ❤️ 👍🏽",
    "lines": 'first\nsecond\t"third" C:\\new',
    "en": "the weather is good today",
    "ar": "中 ٣٤٥ ²nd _under",
}
FOUND = (
    "天气 zh, 气 zh, 去公园 zh, 新しい ja, iphone15 ja, 買った ja, テレビ ja, "
    "ﾃﾚﾋﾞ ja, 날씨 ko, 씨 ko, วันนี้ th, อากาศ th, "
    "ຕອນ lo, 🚀 em, ❤ em, ❤️ em, 👍 em, "
    "second lines, third lines, new lines, weather en, ٣٤٥ ar, under ar, 气天 , 公天 , 🛸 "
)


@pytest.mark.parametrize("pair", FOUND.split(", "))
def test_words_are_found_inside_of_scripts_without_blanks_and_beside_escapes(store, pair):
    for key, text in TEXTS.items():
        keep(store, key, text)
    word, key = pair.split(" ")
    assert [record["key"] for record in store.search("default", word)] == ([key] if key else [])


def test_all_terms_count_where_some_are_inside_and_some_are_not(store):
    keep(store, "a", "デプロイ手順 deploy staging")
    keep(store, "b", "デプロイ手順 production")
    keep(store, "c", "deploy production")
    assert [r["key"] for r in store.search("default", "手順 production")] == ["b"]
    assert [r["key"] for r in store.search("default", "deploy 手順")] == ["a"]
    assert store.undo("default", "b")
    assert {r["key"] for r in store.search("default", "手順 production")} == {"a", "c"}


def test_a_store_of_an_older_version_is_searched_and_changed_like_any_other(opener):
    store = opener()
    for key, text in TEXTS.items():
        keep(store, key, text)
    older(store)
    assert store.recall("default", "zh") is not None
    store.db.db.close()
    store = opener()
    assert [r["key"] for r in store.search("default", "날씨")] == ["ko"]
    older(store)
    store.db.db.close()
    store = opener()
    keep(store, "zh", "明天")
    assert not store.search("default", "今天") and store.search("default", "明天")
    assert store.undo("default", "zh") and store.search("default", "天气")
    assert store.forget("default", "lines") and not store.search("default", "second")
    assert store.db.sql(store.db.check) == [("ok",)]
    store.db.db.close()


def older(store):
    """Make of the store what version 0.1.0 of the program would have made."""
    database = store.db
    if not isinstance(database, Sqlite):
        database.sql("ALTER TABLE versions DROP COLUMN spaced")
        return
    database.sql("INSERT INTO words(words) VALUES('delete-all')")
    database.sql(
        "INSERT INTO words(rowid, key, value, tags) SELECT id, key, value, tags FROM versions WHERE latest"
    )
    database.sql("PRAGMA user_version=1")


def test_the_same_again_makes_no_new_version_in_bulk(store):
    for _ in range(2):
        store.remember_many([("default", {"key": f"k{i}", "value": i}) for i in range(50)])
    assert store.stats()["versions"] == 50 and store.stats()["memories"] == 50


def test_a_failing_bulk_keeps_nothing_of_it(store):
    with pytest.raises(KeyError):
        store.remember_many([("default", {"key": "a", "value": 1}), ("default", {"key": "b"})])
    assert store.recall("default", "a") is None


def test_two_writers_of_one_key_leave_one_value_and_both_in_the_history(opener):
    def write(name):
        mine = opener()
        for i in range(20):
            keep(mine, "k", f"{name}{i}")
        mine.db.db.close()

    threads = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    store = opener()
    history = store.history("default", "k")
    assert len(history) == 40 and store.recall("default", "k")["value"] == history[-1]["value"]
    assert store.db.sql(store.db.check) == [("ok",)]
    store.db.db.close()


def test_a_password_in_the_address_is_refused(server):
    from memorystore.postgres import Postgres

    with pytest.raises(Fault, match="password"):
        Postgres("postgresql://me:secret@/x")


def near(store, query, namespace="default", model="m/1", tags=()):
    vectors = Vectors(store.db, model, packed(query), namespace)
    return vectors, [(m["key"], m["similarity"]) for m in vectors.nearest(set(tags), 10, 0.25)]


@pytest.fixture
def pointed(store):
    """A store with three memories, whose vectors point east, north, and between."""
    ids = [keep(store, key, key) for key in ("east", "north", "between")]
    near(store, [1, 0])[0].keep(zip(ids, map(packed, ([2, 0], [0, 3], [1, 1])), strict=True))
    return store


def test_the_nearest_vectors_are_found_whatever_their_length(pointed):
    assert near(pointed, [5, 0])[1] == [("east", 1.0), ("between", 0.707)]
    assert near(pointed, [-1, 0])[1] == []


def test_the_products_are_the_same_with_numpy_and_without(monkeypatch):
    pytest.importorskip("numpy", reason="numpy is not installed")
    made = [packed([1, i, 2 - i]) for i in range(600)]
    monkeypatch.setattr("agentlib.search.embedder.FEW", 10)
    quick = products(made, made[7])
    monkeypatch.setattr("agentlib.search.embedder.FEW", 1000)
    assert quick == pytest.approx(products(made, made[7]), abs=1e-6) and quick[7] == pytest.approx(
        1
    )


def test_many_vectors_are_read_in_pages(store, monkeypatch):
    monkeypatch.setattr("memorystore.vectors.PAGE", 3)
    ids = [keep(store, f"k{n}", n) for n in range(9)]
    near(store, [1, 0])[0].keep((id, packed([1, n])) for n, id in enumerate(ids))
    assert [key for key, _ in near(store, [1, 0])[1]] == ["k0", "k1", "k2", "k3"]


def test_only_memories_that_are_alive_are_near_and_a_vector_is_gone_with_its_version(pointed):
    pointed.forget("default", "east")
    assert [key for key, _ in near(pointed, [1, 0])[1]] == ["between"]
    pointed.undo("default", "east")
    assert [key for key, _ in near(pointed, [1, 0])[1]] == ["east", "between"]
    pointed.undo("default", "between")
    pointed.forget("default", "north")
    pointed.vacuum()
    assert pointed.db.sql("SELECT count(*) FROM vectors") == [(1,)]


def test_what_has_no_vector_of_this_model_and_length_is_reported_the_newest_first(pointed):
    keep(pointed, "new", 1)
    keep(pointed, "elsewhere", 1, "b")
    assert near(pointed, [1, 0])[0].missing() == 1
    other, _ = near(pointed, [1, 0], model="m/2")
    assert [record["key"] for _, record in other.without(2)] == [
        "new",
        "between",
    ] and other.others() == ["m/1"]
    longer, _ = near(pointed, [1, 0, 0])
    assert longer.missing() == 4 and longer.others() == []
    assert near(pointed, [1, 0], None)[0].missing() == 2


def test_models_are_kept_beside_each_other_until_the_others_are_dropped(pointed):
    other, _ = near(pointed, [1, 0], model="m/2")
    other.keep((id, packed([0, 1])) for id, _ in other.without(10))
    assert [key for key, _ in near(pointed, [1, 0])[1]] == ["east", "between"]
    other.drop_others()
    assert near(pointed, [1, 0])[0].missing() == 3 and other.missing() == 0


def test_tags_and_namespaces_narrow_what_is_near(pointed):
    id = keep(pointed, "mine", 1, "b", tags=["x"])
    near(pointed, [1, 0])[0].keep(
        [(id, packed([1, 0])), (id + 999, packed([1, 0]))]
    )  # the second is of no version
    assert (
        near(pointed, [1, 0], "b")[1]
        == near(pointed, [1, 0], None, tags=["x"])[1]
        == [("mine", 1.0)]
    )
    assert len(near(pointed, [1, 0], None)[1]) == 3


def test_a_store_that_cannot_be_written_has_the_vectors_it_has(opener):
    store = opener()
    store.db.writable = False
    vectors, found = near(store, [1, 0])
    assert (
        found == []
        and vectors.missing() == 0
        and vectors.others() == []
        and not store.db.sql(store.db.table, "vectors")
    )
    store.db.db.close()


def test_ranks_are_fused_and_what_each_list_tells_of_a_memory_is_kept():
    a, b, c = ({"key": key} for key in "abc")
    assert fused([a, b], [{**b, "similarity": 0.5}, c], name=lambda memory: memory["key"]) == [
        {**b, "similarity": 0.5},
        a,
        c,
    ]
