-- Names are collated by their bytes, which is the order they have in memory.
-- Every body is JSON, with the version of its format and a checksum beside it: see src/body.rs.

CREATE TABLE streams (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL UNIQUE,
    head BIGINT NOT NULL CHECK (head > 0),
    -- The rollout that is under way.
    rollout TEXT COLLATE "C"
);

-- No foreign key: the append that writes a record has just written its stream in the same transaction.
CREATE TABLE records (
    stream_id BIGINT NOT NULL,
    seq BIGINT NOT NULL CHECK (seq > 0),
    format BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (stream_id, seq)
);

CREATE TABLE rollouts (
    ordinal BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    stream_id BIGINT NOT NULL REFERENCES streams (id),
    first_seq BIGINT NOT NULL,
    last_seq BIGINT
);

CREATE INDEX rollouts_of_stream ON rollouts (stream_id, ordinal);

CREATE TABLE services (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL
);

CREATE TABLE service_revisions (
    service TEXT COLLATE "C" NOT NULL REFERENCES services (name),
    revision BIGINT NOT NULL,
    format BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (service, revision)
);

CREATE TABLE releases (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    service TEXT COLLATE "C" NOT NULL REFERENCES services (name),
    created_at BIGINT NOT NULL,
    format BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE INDEX releases_of_service ON releases (service, created_at, id);

-- Outlives the host, so that revisions grow over a removal.
CREATE TABLE host_revisions (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL
);

CREATE TABLE hosts (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision BIGINT NOT NULL,
    format BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    body TEXT NOT NULL
);

CREATE TABLE installed (
    service TEXT COLLATE "C" NOT NULL,
    host TEXT COLLATE "C" NOT NULL REFERENCES hosts (name) ON DELETE CASCADE,
    generation BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    format BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (service, host)
);

CREATE INDEX installed_on_host ON installed (host);

-- A lease that nobody holds stays, without holder, so that its epochs grow.
CREATE TABLE leases (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder TEXT COLLATE "C",
    epoch BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- The last position given out in a rollout. Writers queue on this row, so positions show in the order they were given.
CREATE TABLE log_rollouts (
    rollout TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL
);

CREATE TABLE log_attempts (
    rollout TEXT COLLATE "C" NOT NULL,
    host TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    length BIGINT NOT NULL,
    PRIMARY KEY (rollout, host, generation)
);

CREATE TABLE log_chunks (
    rollout TEXT COLLATE "C" NOT NULL,
    position BIGINT NOT NULL,
    host TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL,
    start BIGINT NOT NULL,
    at BIGINT NOT NULL,
    bytes BYTEA NOT NULL,
    PRIMARY KEY (rollout, position)
);

CREATE INDEX log_chunks_of_host ON log_chunks (rollout, host, position);
