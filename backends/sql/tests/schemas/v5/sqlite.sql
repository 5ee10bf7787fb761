BEGIN;
PRAGMA defer_foreign_keys = ON;
CREATE TABLE deploy_schema (version INTEGER NOT NULL PRIMARY KEY, applied_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP) STRICT;
INSERT INTO deploy_schema VALUES (1, '2026-11-22 23:26:48');
INSERT INTO deploy_schema VALUES (2, '2026-11-22 23:26:48');
INSERT INTO deploy_schema VALUES (3, '2026-11-22 23:26:48');
INSERT INTO deploy_schema VALUES (4, '2026-11-22 23:26:48');
INSERT INTO deploy_schema VALUES (5, '2026-11-22 23:26:48');
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
INSERT INTO records VALUES (1, 1, 2, 3429916749584161366, '{"format":2,"seq":1,"at":1000,"rollout":"r1","event":{"type":"accepted","plan":{"format":2,"work":"release","service":"web","deploy_path":"/srv/web","account":null,"release":"web-1","releases":{"web-1":{"id":"web-1","version":"web-1","package":null,"descriptor":{"digest":"sha256:c4719afa76fa448b5eca99e6736885846501d17956f2fcb2de5c916d723f3a87","size":1},"steps":[{"name":"install","timeout":{"secs":300,"nanos":0},"effect":"once"},{"name":"start","timeout":{"secs":300,"nanos":0},"effect":"once"}],"parameters":{}}},"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}},"waves":[[{"host":{"name":"h1","connection":{"via":"local","root":"/nowhere/h1"},"labels":{}},"from":null,"to":"web-1"}]],"no_ops":[],"inventory":"sha256:b11a85b296a90afc460430434a504e7acb04b064575b7277724688af0e59d189","seed":7,"parent":null,"created_at":1000,"created_by":"ann"},"by":"ann"}}');
INSERT INTO records VALUES (1, 2, 1, 4780552257982795384, '{"format":1,"seq":2,"at":2000,"rollout":"r1","event":{"type":"wave_started","wave":0}}');
INSERT INTO records VALUES (1, 3, 1, 468369937658950115, '{"format":1,"seq":3,"at":3000,"rollout":"r1","event":{"type":"finished","outcome":"succeeded"}}');
INSERT INTO records VALUES (1, 4, 2, -5868050349134120231, '{"format":2,"seq":4,"at":4000,"rollout":"r2","event":{"type":"accepted","plan":{"format":2,"work":"release","service":"web","deploy_path":"/srv/web","account":null,"release":"web-1","releases":{"web-1":{"id":"web-1","version":"web-1","package":null,"descriptor":{"digest":"sha256:c4719afa76fa448b5eca99e6736885846501d17956f2fcb2de5c916d723f3a87","size":1},"steps":[{"name":"install","timeout":{"secs":300,"nanos":0},"effect":"once"},{"name":"start","timeout":{"secs":300,"nanos":0},"effect":"once"}],"parameters":{}}},"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}},"waves":[[{"host":{"name":"h1","connection":{"via":"local","root":"/nowhere/h1"},"labels":{}},"from":null,"to":"web-1"}]],"no_ops":[],"inventory":"sha256:b11a85b296a90afc460430434a504e7acb04b064575b7277724688af0e59d189","seed":7,"parent":null,"created_at":1000,"created_by":"ann"},"by":"ann"}}');
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
INSERT INTO service_revisions VALUES ('web', 1, 1, 2445816857338347423, '{"name":"web","owner":"ann","deploy_path":"/srv/web","account":null,"selector":"zone=a","count":null,"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}},"repair":{"debt":null,"drift":"report"}}');
INSERT INTO service_revisions VALUES ('web', 2, 1, 2445816857338347423, '{"name":"web","owner":"ann","deploy_path":"/srv/web","account":null,"selector":"zone=a","count":null,"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}},"repair":{"debt":null,"drift":"report"}}');
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
INSERT INTO leases VALUES ('service/web', 'two', 2, 1795390023827);
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
INSERT INTO api_tokens VALUES ('t1', X'72CD6E8422C407FB6D098690F1130B7DED7EC2F7F5E1D30BD9D521F015363793', 5000, NULL, 1, 9173768214844282616, '{"id":"t1","principal":"ci","scope":{"actions":["rollout_control"],"services":["web"]},"note":"for tests","created_at":1000,"created_by":"kit","expires_at":1000000}');
INSERT INTO api_tokens VALUES ('t2', X'72CD6E8422C407FB6D098690F1130B7DED7EC2F7F5E1D30BD9D521F015363793', NULL, 6000, 1, 1275421183968116351, '{"id":"t2","principal":"ci","scope":{"actions":["rollout_control"],"services":["web"]},"note":"for tests","created_at":1000,"created_by":"kit","expires_at":1000000}');
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
INSERT INTO answers VALUES (1, 'ann', 'answered', X'1F58B9145B24D108D7AC38887338B3EA3229833B9C1E418250343F907BFD1047', 'one', 7000, 201, '[["etag","\"1\""]]', X'7B7D00FF');
INSERT INTO answers VALUES (2, 'ann', 'running', X'1F58B9145B24D108D7AC38887338B3EA3229833B9C1E418250343F907BFD1047', 'one', NULL, NULL, NULL, NULL);
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
INSERT INTO join_tokens VALUES ('j1', X'75877BB41D393B5FB8455CE60ECD8DDA001D06316496B14DFA7F895656EECA4A', 3, 2, 1000000, NULL, 1, -3995911470760107972, '{"id":"j1","labels":{"zone":"a"},"uses":3,"used":0,"created_at":1000,"created_by":"kit","expires_at":1000000}');
CREATE TABLE agents (
    host TEXT NOT NULL PRIMARY KEY,
    natural_key TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    last_seen_at INTEGER,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL
, kept_out INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO agents VALUES ('h1', 'machine/4f', 5, 8000, 1, -9090301112422682648, '{"host":"h1","natural_key":"machine/4f","labels":{"zone":"a"},"state":"active","key":{"fingerprint":"sha256:f998fe06afa0cfbe73e0449dc2b1698309e1b5714960f027b2858312b152c275","certificate":{"serial":"0a","expires_at":1000000}},"former_keys":["sha256:33112ee14ee469c3eb52fe90322ec81dd404a0093d565a6d71ce77cbc8124e3b"],"boot":"boot-2","former_boots":["boot-1"],"enrolled_at":3000,"enrolled_with":"j1","facts":{"cpus":0,"memory_bytes":0,"disk_bytes":0}}', 0);
CREATE TABLE agent_keys (
    fingerprint BLOB NOT NULL PRIMARY KEY,
    host TEXT NOT NULL REFERENCES agents (host) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
INSERT INTO agent_keys VALUES (X'33112EE14EE469C3EB52FE90322EC81DD404A0093D565A6D71CE77CBC8124E3B', 'h1');
INSERT INTO agent_keys VALUES (X'F998FE06AFA0CFBE73E0449DC2B1698309E1B5714960F027B2858312B152C275', 'h1');
CREATE TABLE floors (
    position INTEGER NOT NULL PRIMARY KEY CHECK (position > 0)
) STRICT;
INSERT INTO floors VALUES (1000);
CREATE TABLE channels (
    repository TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (repository, kind, name)
) STRICT, WITHOUT ROWID;
INSERT INTO channels VALUES ('web', 'package', 'stable', 2);
CREATE TABLE channel_moves (
    repository TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    format INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (repository, kind, name, revision),
    FOREIGN KEY (repository, kind, name) REFERENCES channels (repository, kind, name)
) STRICT;
INSERT INTO channel_moves VALUES ('web', 'package', 'stable', 1, 1, -7649518947092661850, '{"channel":{"repository":"web","kind":"package","name":"stable"},"to":{"version":"1","digest":"sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"},"reason":"it was tried","at":2000,"by":"ann"}');
INSERT INTO channel_moves VALUES ('web', 'package', 'stable', 2, 1, 4363543085617484138, '{"channel":{"repository":"web","kind":"package","name":"stable"},"to":{"version":"2","digest":"sha256:d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"},"reason":"it was tried","at":2000,"by":"ann"}');
CREATE INDEX rollouts_of_stream ON rollouts (stream_id, ordinal);
CREATE INDEX releases_of_service ON releases (service, created_at, id);
CREATE INDEX installed_on_host ON installed (host);
CREATE INDEX answers_by_age ON answers (answered_at);
CREATE INDEX agent_keys_of_host ON agent_keys (host);
CREATE INDEX agents_kept_out ON agents (host) WHERE kept_out = 1;
COMMIT;
