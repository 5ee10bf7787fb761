BEGIN;
PRAGMA defer_foreign_keys = ON;
CREATE TABLE deploy_schema (version INTEGER NOT NULL PRIMARY KEY, applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) STRICT;
INSERT INTO deploy_schema VALUES (1, '2026-11-22 23:26:48');
CREATE TABLE log_rollouts (
    rollout TEXT NOT NULL PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO log_rollouts VALUES ('r1', 2);
CREATE TABLE log_attempts (
    rollout TEXT NOT NULL,
    host TEXT NOT NULL,
    generation INTEGER NOT NULL,
    length INTEGER NOT NULL,
    PRIMARY KEY (rollout, host, generation)
) STRICT, WITHOUT ROWID;
INSERT INTO log_attempts VALUES ('r1', 'h1', 2, 9);
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
INSERT INTO log_chunks VALUES ('r1', 1, 'h1', 2, 0, 2000, X'68656C6C6F20');
INSERT INTO log_chunks VALUES ('r1', 2, 'h1', 2, 6, 2000, X'00FF0A');
CREATE INDEX log_chunks_of_host ON log_chunks (rollout, host, position);
COMMIT;
