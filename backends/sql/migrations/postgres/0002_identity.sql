-- What is compared, counted or sorted by is a column; the rest is in the body: see src/body.rs.

CREATE TABLE api_tokens (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- The hash of the secret.
    secret BYTEA NOT NULL,
    last_used_at BIGINT,
    revoked_at BIGINT,
    format BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    body TEXT NOT NULL
);

-- A request that is begun anew gets a row of its own: no epoch is ever given twice.
CREATE TABLE answers (
    epoch BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    principal TEXT COLLATE "C" NOT NULL,
    idempotency_key TEXT COLLATE "C" NOT NULL,
    request BYTEA NOT NULL,
    holder TEXT NOT NULL,
    -- The rest is missing while somebody is at it.
    answered_at BIGINT,
    status BIGINT,
    headers TEXT,
    content BYTEA,
    UNIQUE (principal, idempotency_key)
);

CREATE INDEX answers_by_age ON answers (answered_at);

CREATE TABLE join_tokens (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- The hash of the secret.
    secret BYTEA NOT NULL,
    uses BIGINT NOT NULL,
    used BIGINT NOT NULL CHECK (used <= uses),
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT,
    format BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE agents (
    host TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    natural_key TEXT COLLATE "C" NOT NULL UNIQUE,
    revision BIGINT NOT NULL,
    last_seen_at BIGINT,
    format BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    body TEXT NOT NULL
);

-- The keys that are or were an agent's: a key is of one agent for good.
CREATE TABLE agent_keys (
    fingerprint BYTEA NOT NULL PRIMARY KEY,
    host TEXT COLLATE "C" NOT NULL REFERENCES agents (host) ON DELETE CASCADE
);

CREATE INDEX agent_keys_of_host ON agent_keys (host);
