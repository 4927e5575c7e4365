-- The tables of a store in SQLite (sqlite.py).
CREATE TABLE versions(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT,                 -- JSON; NULL: forgotten
    tags TEXT NOT NULL,         -- words between blanks
    time TEXT NOT NULL,         -- RFC 3339, UTC
    expires REAL,               -- seconds since 1970
    latest INTEGER NOT NULL
);
CREATE UNIQUE INDEX latest ON versions(namespace, key) WHERE latest;
CREATE INDEX history ON versions(namespace, key, id);
CREATE VIRTUAL TABLE words USING fts5(key, value, tags, content='versions', content_rowid='id',
    tokenize='porter unicode61');
