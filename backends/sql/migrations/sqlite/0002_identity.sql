-- What is compared, counted or sorted by is a column; the rest is in the body: see src/body.rs.

CREATE TABLE api_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    -- The hash of the secret.
    secret BLOB NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- A request that is begun anew gets a row of its own: no epoch is ever given twice.
CREATE TABLE answers (
    epoch INTEGER PRIMARY KEY AUTOINCREMENT,
    principal TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request BLOB NOT NULL,
    holder TEXT NOT NULL,
    -- The rest is missing while somebody is at it.
    answered_at INTEGER,
    status INTEGER,
    headers TEXT,
    content BLOB,
    UNIQUE (principal, idempotency_key)
) STRICT;

CREATE INDEX answers_by_age ON answers (answered_at);

CREATE TABLE join_tokens (
    id TEXT NOT NULL PRIMARY KEY,
    -- The hash of the secret.
    secret BLOB NOT NULL,
    uses INTEGER NOT NULL,
    used INTEGER NOT NULL CHECK (used <= uses),
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE agents (
    host TEXT NOT NULL PRIMARY KEY,
    natural_key TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    last_seen_at INTEGER,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

-- The keys that are or were an agent's: a key is of one agent for good.
CREATE TABLE agent_keys (
    fingerprint BLOB NOT NULL PRIMARY KEY,
    host TEXT NOT NULL REFERENCES agents (host) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX agent_keys_of_host ON agent_keys (host);
