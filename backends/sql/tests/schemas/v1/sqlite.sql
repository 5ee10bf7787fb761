BEGIN;
PRAGMA defer_foreign_keys = ON;
CREATE TABLE deploy_schema (version INTEGER NOT NULL PRIMARY KEY, applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) STRICT;
INSERT INTO deploy_schema VALUES (1, '2026-11-22 05:05:51');
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    head INTEGER NOT NULL CHECK (head > 0),
    -- The rollout that is under way.
    rollout TEXT
) STRICT;
INSERT INTO streams VALUES (1, 'service/web', 5, 'r2');
CREATE TABLE records (
    stream_id INTEGER NOT NULL,
    seq INTEGER NOT NULL CHECK (seq > 0),
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (stream_id, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO records VALUES (1, 1, 1, -6355531879226456908, '{"format":1,"seq":1,"at":1000,"rollout":"r1","event":{"type":"accepted","plan":{"format":1,"work":"release","service":"web","deploy_path":"/srv/web","account":null,"release":"web-1","releases":{"web-1":{"id":"web-1","version":"web-1","package":null,"descriptor":{"digest":"sha256:c4719afa76fa448b5eca99e6736885846501d17956f2fcb2de5c916d723f3a87","size":1},"steps":[{"name":"install","timeout":{"secs":300,"nanos":0},"effect":"once"},{"name":"start","timeout":{"secs":300,"nanos":0},"effect":"once"}],"parameters":{}}},"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}},"waves":[[{"host":{"name":"h1","connection":{"via":"local","root":"/nowhere/h1"},"labels":{}},"from":null,"to":"web-1"}]],"no_ops":[],"inventory":"sha256:b11a85b296a90afc460430434a504e7acb04b064575b7277724688af0e59d189","seed":7,"parent":null,"created_at":1000,"created_by":"ann"},"by":"ann"}}');
INSERT INTO records VALUES (1, 2, 1, 4780552257982795384, '{"format":1,"seq":2,"at":2000,"rollout":"r1","event":{"type":"wave_started","wave":0}}');
INSERT INTO records VALUES (1, 3, 1, 468369937658950115, '{"format":1,"seq":3,"at":3000,"rollout":"r1","event":{"type":"finished","outcome":"succeeded"}}');
INSERT INTO records VALUES (1, 4, 1, -4943097914195466477, '{"format":1,"seq":4,"at":4000,"rollout":"r2","event":{"type":"accepted","plan":{"format":1,"work":"release","service":"web","deploy_path":"/srv/web","account":null,"release":"web-1","releases":{"web-1":{"id":"web-1","version":"web-1","package":null,"descriptor":{"digest":"sha256:c4719afa76fa448b5eca99e6736885846501d17956f2fcb2de5c916d723f3a87","size":1},"steps":[{"name":"install","timeout":{"secs":300,"nanos":0},"effect":"once"},{"name":"start","timeout":{"secs":300,"nanos":0},"effect":"once"}],"parameters":{}}},"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}},"waves":[[{"host":{"name":"h1","connection":{"via":"local","root":"/nowhere/h1"},"labels":{}},"from":null,"to":"web-1"}]],"no_ops":[],"inventory":"sha256:b11a85b296a90afc460430434a504e7acb04b064575b7277724688af0e59d189","seed":7,"parent":null,"created_at":1000,"created_by":"ann"},"by":"ann"}}');
INSERT INTO records VALUES (1, 5, 1, -6349735734087753187, '{"format":1,"seq":5,"at":5000,"rollout":"r2","event":{"type":"wave_started","wave":0}}');
CREATE TABLE rollouts (
    ordinal INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    stream_id INTEGER NOT NULL REFERENCES streams (id),
    first_seq INTEGER NOT NULL,
    last_seq INTEGER
) STRICT;
INSERT INTO rollouts VALUES (1, 'r1', 1, 1, 3);
INSERT INTO rollouts VALUES (2, 'r2', 1, 4, NULL);
CREATE TABLE services (
    name TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO services VALUES ('web', 2);
CREATE TABLE service_revisions (
    service TEXT NOT NULL REFERENCES services (name),
    revision INTEGER NOT NULL,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (service, revision)
) STRICT;
INSERT INTO service_revisions VALUES ('web', 1, 1, -3144756725607526734, '{"name":"web","owner":"ann","deploy_path":"/srv/web","account":null,"selector":"zone=a","count":null,"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}}}');
INSERT INTO service_revisions VALUES ('web', 2, 1, -3144756725607526734, '{"name":"web","owner":"ann","deploy_path":"/srv/web","account":null,"selector":"zone=a","count":null,"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}}}');
CREATE TABLE releases (
    id TEXT NOT NULL PRIMARY KEY,
    service TEXT NOT NULL REFERENCES services (name),
    created_at INTEGER NOT NULL,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
INSERT INTO releases VALUES ('web-1', 'web', 1000, 1, -3608435738187132729, '{"id":"web-1","service":"web","version":"web-1","package":null,"descriptor":{"digest":"sha256:c4719afa76fa448b5eca99e6736885846501d17956f2fcb2de5c916d723f3a87","size":1},"steps":[{"name":"install","timeout":{"secs":300,"nanos":0},"effect":"once"},{"name":"start","timeout":{"secs":300,"nanos":0},"effect":"once"}],"parameters":{},"created_at":1000,"created_by":"ann","provenance":""}');
CREATE TABLE host_revisions (
    name TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO host_revisions VALUES ('a1', 1);
INSERT INTO host_revisions VALUES ('gone', 1);
INSERT INTO host_revisions VALUES ('h1', 1);
CREATE TABLE hosts (
    name TEXT NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL
) STRICT;
INSERT INTO hosts VALUES ('a1', 1, 1, 4475498427908744585, '{"name":"a1","connection":{"via":"local","root":"/nowhere/a1"},"labels":{}}');
INSERT INTO hosts VALUES ('h1', 1, 1, -3122401194071759331, '{"name":"h1","connection":{"via":"local","root":"/nowhere/h1"},"labels":{}}');
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
INSERT INTO installed VALUES ('web', 'h1', 2, 2000, 1, -8143083697093854238, '{"release":"web-1","package":null,"generation":2,"seen_at":2000}');
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT,
    epoch INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
INSERT INTO leases VALUES ('service/web', 'two', 2, 1795323966924);
CREATE INDEX rollouts_of_stream ON rollouts (stream_id, ordinal);
CREATE INDEX releases_of_service ON releases (service, created_at, id);
CREATE INDEX installed_on_host ON installed (host);
COMMIT;
