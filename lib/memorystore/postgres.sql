-- The tables of a store in PostgreSQL (postgres.py): as in sqlite.sql, and the words of each version in two columns.
CREATE SCHEMA IF NOT EXISTS agentutils;
CREATE TABLE IF NOT EXISTS agentutils.versions(
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT,
    tags TEXT NOT NULL,
    time TEXT NOT NULL,
    expires DOUBLE PRECISION,
    latest BOOLEAN NOT NULL,
    words TSVECTOR GENERATED ALWAYS AS (
        setweight(to_tsvector('simple', key), 'A') ||
        setweight(to_tsvector('simple', tags), 'B') ||
        to_tsvector('simple', coalesce(value, ''))) STORED
);
CREATE UNIQUE INDEX IF NOT EXISTS latest ON agentutils.versions(namespace, key) WHERE latest;
CREATE INDEX IF NOT EXISTS history ON agentutils.versions(namespace, key, id);
CREATE INDEX IF NOT EXISTS words ON agentutils.versions USING gin(words) WHERE latest;
ALTER TABLE agentutils.versions ADD COLUMN IF NOT EXISTS spaced TSVECTOR; -- where `words` do not do (store.indexed)
CREATE INDEX IF NOT EXISTS spaced ON agentutils.versions USING gin(spaced) WHERE latest;
