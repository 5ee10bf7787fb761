-- Every body is JSON, with the version of its format and a checksum beside it: see src/body.rs.

CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    head INTEGER NOT NULL CHECK (head > 0),
    -- The rollout that is under way.
    rollout TEXT
) STRICT;

-- No foreign key: the append that writes a record has just written its stream in the same transaction.
CREATE TABLE records (
    stream_id INTEGER NOT NULL,
    seq INTEGER NOT NULL CHECK (seq > 0),
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (stream_id, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollouts (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    first_seq INTEGER NOT NULL,
    last_seq INTEGER
) STRICT;

CREATE INDEX rollouts_of_stream ON rollouts (stream_id, ordinal);

CREATE TABLE services (
    name TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE service_revisions (
    service TEXT NOT NULL REFERENCES services (name),
    revision INTEGER NOT NULL,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (service, revision)
) STRICT;

CREATE TABLE releases (
    id TEXT NOT NULL PRIMARY KEY,
    service TEXT NOT NULL REFERENCES services (name),
    created_at INTEGER NOT NULL,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE INDEX releases_of_service ON releases (service, created_at, id);

-- Outlives the host, so that revisions grow over a removal.
CREATE TABLE host_revisions (
    name TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE hosts (
    name TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;

CREATE TABLE installed (
    service TEXT NOT NULL,
    host TEXT NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
    generation INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (service, host)
) STRICT;

CREATE INDEX installed_on_host ON installed (host);

-- A lease that nobody holds stays, without holder, so that its epochs grow.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT,
    epoch INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
