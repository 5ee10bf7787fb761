-- The last position given out in a rollout. Writers queue on this row, so positions show in the order they were given.
CREATE TABLE log_rollouts (
    rollout TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE log_attempts (
    rollout TEXT NOT NULL,
    host TEXT NOT NULL,
    generation INTEGER NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (rollout, host, generation)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_chunks (
    rollout TEXT NOT NULL,
    position INTEGER NOT NULL,
    host TEXT NOT NULL,
    generation INTEGER NOT NULL,
    start INTEGER NOT NULL,
    at INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (rollout, position)
) STRICT;

CREATE INDEX log_chunks_of_host ON log_chunks (rollout, host, position);
