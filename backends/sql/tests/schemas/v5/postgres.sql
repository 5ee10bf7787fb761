--
-- PostgreSQL database dump
--

\restrict 1pORKi03bmUh34HeoutUkOaLoDTjFgtPY0f5XagznvkCOnilB04kb3JtuiqluHa

-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: deploy; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA deploy;


SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: agent_keys; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.agent_keys (
    fingerprint bytea NOT NULL,
    host text NOT NULL COLLATE pg_catalog."C"
);


--
-- Name: agents; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.agents (
    host text NOT NULL COLLATE pg_catalog."C",
    natural_key text NOT NULL COLLATE pg_catalog."C",
    revision bigint NOT NULL,
    last_seen_at bigint,
    format bigint NOT NULL,
    checksum bigint NOT NULL,
    body text NOT NULL,
    kept_out bigint DEFAULT 0 NOT NULL
);


--
-- Name: answers; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.answers (
    epoch bigint NOT NULL,
    principal text NOT NULL COLLATE pg_catalog."C",
    idempotency_key text NOT NULL COLLATE pg_catalog."C",
    request bytea NOT NULL,
    holder text NOT NULL,
    answered_at bigint,
    status bigint,
    headers text,
    content bytea
);


--
-- Name: answers_epoch_seq; Type: SEQUENCE; Schema: deploy; Owner: -
--

ALTER TABLE deploy.answers ALTER COLUMN epoch ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME deploy.answers_epoch_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: api_tokens; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.api_tokens (
    id text NOT NULL COLLATE pg_catalog."C",
    secret bytea NOT NULL,
    last_used_at bigint,
    revoked_at bigint,
    format bigint NOT NULL,
    checksum bigint NOT NULL,
    body text NOT NULL
);


--
-- Name: channel_moves; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.channel_moves (
    repository text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    revision bigint NOT NULL,
    format bigint NOT NULL,
    checksum bigint NOT NULL,
    body text NOT NULL
);


--
-- Name: channels; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.channels (
    repository text NOT NULL COLLATE pg_catalog."C",
    kind text NOT NULL COLLATE pg_catalog."C",
    name text NOT NULL COLLATE pg_catalog."C",
    revision bigint NOT NULL
);


--
-- Name: deploy_schema; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.deploy_schema (
    version bigint NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);


--
-- Name: floors; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.floors (
    "position" bigint NOT NULL,
    CONSTRAINT floors_position_check CHECK (("position" > 0))
);


--
-- Name: host_revisions; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.host_revisions (
    name text NOT NULL COLLATE pg_catalog."C",
    revision bigint NOT NULL
);


--
-- Name: hosts; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.hosts (
    name text NOT NULL COLLATE pg_catalog."C",
    revision bigint NOT NULL,
    format bigint NOT NULL,
    checksum bigint NOT NULL,
    body text NOT NULL
);


--
-- Name: installed; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.installed (
    service text NOT NULL COLLATE pg_catalog."C",
    host text NOT NULL COLLATE pg_catalog."C",
    generation bigint NOT NULL,
    seen_at bigint NOT NULL,
    format bigint NOT NULL,
    checksum bigint NOT NULL,
    body text NOT NULL
);


--
-- Name: join_tokens; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.join_tokens (
    id text NOT NULL COLLATE pg_catalog."C",
    secret bytea NOT NULL,
    uses bigint NOT NULL,
    used bigint NOT NULL,
    expires_at bigint NOT NULL,
    revoked_at bigint,
    format bigint NOT NULL,
    checksum bigint NOT NULL,
    body text NOT NULL,
    CONSTRAINT join_tokens_check CHECK ((used <= uses))
);


--
-- Name: leases; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.leases (
    name text NOT NULL COLLATE pg_catalog."C",
    holder text COLLATE pg_catalog."C",
    epoch bigint NOT NULL,
    expires_at bigint NOT NULL
);


--
-- Name: log_attempts; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.log_attempts (
    rollout text NOT NULL COLLATE pg_catalog."C",
    host text NOT NULL COLLATE pg_catalog."C",
    generation bigint NOT NULL,
    length bigint NOT NULL
);


--
-- Name: log_chunks; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.log_chunks (
    rollout text NOT NULL COLLATE pg_catalog."C",
    "position" bigint NOT NULL,
    host text NOT NULL COLLATE pg_catalog."C",
    generation bigint NOT NULL,
    start bigint NOT NULL,
    at bigint NOT NULL,
    bytes bytea NOT NULL
);


--
-- Name: log_rollouts; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.log_rollouts (
    rollout text NOT NULL COLLATE pg_catalog."C",
    "position" bigint NOT NULL
);


--
-- Name: records; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.records (
    stream_id bigint NOT NULL,
    seq bigint NOT NULL,
    format bigint NOT NULL,
    checksum bigint NOT NULL,
    body text NOT NULL,
    CONSTRAINT records_seq_check CHECK ((seq > 0))
);


--
-- Name: releases; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.releases (
    id text NOT NULL COLLATE pg_catalog."C",
    service text NOT NULL COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    format bigint NOT NULL,
    checksum bigint NOT NULL,
    body text NOT NULL
);


--
-- Name: rollouts; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.rollouts (
    ordinal bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    stream_id bigint NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint
);


--
-- Name: rollouts_ordinal_seq; Type: SEQUENCE; Schema: deploy; Owner: -
--

ALTER TABLE deploy.rollouts ALTER COLUMN ordinal ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME deploy.rollouts_ordinal_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Name: service_revisions; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.service_revisions (
    service text NOT NULL COLLATE pg_catalog."C",
    revision bigint NOT NULL,
    format bigint NOT NULL,
    checksum bigint NOT NULL,
    body text NOT NULL
);


--
-- Name: services; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.services (
    name text NOT NULL COLLATE pg_catalog."C",
    revision bigint NOT NULL
);


--
-- Name: streams; Type: TABLE; Schema: deploy; Owner: -
--

CREATE TABLE deploy.streams (
    id bigint NOT NULL,
    name text NOT NULL COLLATE pg_catalog."C",
    head bigint NOT NULL,
    rollout text COLLATE pg_catalog."C",
    CONSTRAINT streams_head_check CHECK ((head > 0))
);


--
-- Name: streams_id_seq; Type: SEQUENCE; Schema: deploy; Owner: -
--

ALTER TABLE deploy.streams ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME deploy.streams_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);


--
-- Data for Name: agent_keys; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.agent_keys VALUES ('\x33112ee14ee469c3eb52fe90322ec81dd404a0093d565a6d71ce77cbc8124e3b', 'h1');
INSERT INTO deploy.agent_keys VALUES ('\xf998fe06afa0cfbe73e0449dc2b1698309e1b5714960f027b2858312b152c275', 'h1');


--
-- Data for Name: agents; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.agents VALUES ('h1', 'machine/4f', 5, 8000, 1, -9090301112422682648, '{"host":"h1","natural_key":"machine/4f","labels":{"zone":"a"},"state":"active","key":{"fingerprint":"sha256:f998fe06afa0cfbe73e0449dc2b1698309e1b5714960f027b2858312b152c275","certificate":{"serial":"0a","expires_at":1000000}},"former_keys":["sha256:33112ee14ee469c3eb52fe90322ec81dd404a0093d565a6d71ce77cbc8124e3b"],"boot":"boot-2","former_boots":["boot-1"],"enrolled_at":3000,"enrolled_with":"j1","facts":{"cpus":0,"memory_bytes":0,"disk_bytes":0}}', 0);


--
-- Data for Name: answers; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.answers OVERRIDING SYSTEM VALUE VALUES (1, 'ann', 'answered', '\x1f58b9145b24d108d7ac38887338b3ea3229833b9c1e418250343f907bfd1047', 'one', 7000, 201, '[["etag","\"1\""]]', '\x7b7d00ff');
INSERT INTO deploy.answers OVERRIDING SYSTEM VALUE VALUES (2, 'ann', 'running', '\x1f58b9145b24d108d7ac38887338b3ea3229833b9c1e418250343f907bfd1047', 'one', NULL, NULL, NULL, NULL);


--
-- Data for Name: api_tokens; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.api_tokens VALUES ('t1', '\x72cd6e8422c407fb6d098690f1130b7ded7ec2f7f5e1d30bd9d521f015363793', 5000, NULL, 1, 9173768214844282616, '{"id":"t1","principal":"ci","scope":{"actions":["rollout_control"],"services":["web"]},"note":"for tests","created_at":1000,"created_by":"kit","expires_at":1000000}');
INSERT INTO deploy.api_tokens VALUES ('t2', '\x72cd6e8422c407fb6d098690f1130b7ded7ec2f7f5e1d30bd9d521f015363793', NULL, 6000, 1, 1275421183968116351, '{"id":"t2","principal":"ci","scope":{"actions":["rollout_control"],"services":["web"]},"note":"for tests","created_at":1000,"created_by":"kit","expires_at":1000000}');


--
-- Data for Name: channel_moves; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.channel_moves VALUES ('web', 'package', 'stable', 1, 1, -7649518947092661850, '{"channel":{"repository":"web","kind":"package","name":"stable"},"to":{"version":"1","digest":"sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"},"reason":"it was tried","at":2000,"by":"ann"}');
INSERT INTO deploy.channel_moves VALUES ('web', 'package', 'stable', 2, 1, 4363543085617484138, '{"channel":{"repository":"web","kind":"package","name":"stable"},"to":{"version":"2","digest":"sha256:d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"},"reason":"it was tried","at":2000,"by":"ann"}');


--
-- Data for Name: channels; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.channels VALUES ('web', 'package', 'stable', 2);


--
-- Data for Name: deploy_schema; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.deploy_schema VALUES (1, '2026-11-22 23:26:50.093652+00');
INSERT INTO deploy.deploy_schema VALUES (2, '2026-11-22 23:26:50.093652+00');
INSERT INTO deploy.deploy_schema VALUES (3, '2026-11-22 23:26:50.093652+00');
INSERT INTO deploy.deploy_schema VALUES (4, '2026-11-22 23:26:50.093652+00');
INSERT INTO deploy.deploy_schema VALUES (5, '2026-11-22 23:26:50.093652+00');


--
-- Data for Name: floors; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.floors VALUES (1000);


--
-- Data for Name: host_revisions; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.host_revisions VALUES ('a1', 1);
INSERT INTO deploy.host_revisions VALUES ('gone', 1);
INSERT INTO deploy.host_revisions VALUES ('h1', 1);


--
-- Data for Name: hosts; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.hosts VALUES ('a1', 1, 1, 4475498427908744585, '{"name":"a1","connection":{"via":"local","root":"/nowhere/a1"},"labels":{}}');
INSERT INTO deploy.hosts VALUES ('h1', 1, 1, -3122401194071759331, '{"name":"h1","connection":{"via":"local","root":"/nowhere/h1"},"labels":{}}');


--
-- Data for Name: installed; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.installed VALUES ('web', 'h1', 2, 2000, 1, -8143083697093854238, '{"release":"web-1","package":null,"generation":2,"seen_at":2000}');


--
-- Data for Name: join_tokens; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.join_tokens VALUES ('j1', '\x75877bb41d393b5fb8455ce60ecd8dda001d06316496b14dfa7f895656eeca4a', 3, 2, 1000000, NULL, 1, -3995911470760107972, '{"id":"j1","labels":{"zone":"a"},"uses":3,"used":0,"created_at":1000,"created_by":"kit","expires_at":1000000}');


--
-- Data for Name: leases; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.leases VALUES ('service/web', 'two', 2, 1795390025400);


--
-- Data for Name: log_attempts; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.log_attempts VALUES ('r1', 'h1', 2, 9);


--
-- Data for Name: log_chunks; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.log_chunks VALUES ('r1', 1, 'h1', 2, 0, 2000, '\x68656c6c6f20');
INSERT INTO deploy.log_chunks VALUES ('r1', 2, 'h1', 2, 6, 2000, '\x00ff0a');


--
-- Data for Name: log_rollouts; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.log_rollouts VALUES ('r1', 2);


--
-- Data for Name: records; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.records VALUES (1, 1, 2, 3429916749584161366, '{"format":2,"seq":1,"at":1000,"rollout":"r1","event":{"type":"accepted","plan":{"format":2,"work":"release","service":"web","deploy_path":"/srv/web","account":null,"release":"web-1","releases":{"web-1":{"id":"web-1","version":"web-1","package":null,"descriptor":{"digest":"sha256:c4719afa76fa448b5eca99e6736885846501d17956f2fcb2de5c916d723f3a87","size":1},"steps":[{"name":"install","timeout":{"secs":300,"nanos":0},"effect":"once"},{"name":"start","timeout":{"secs":300,"nanos":0},"effect":"once"}],"parameters":{}}},"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}},"waves":[[{"host":{"name":"h1","connection":{"via":"local","root":"/nowhere/h1"},"labels":{}},"from":null,"to":"web-1"}]],"no_ops":[],"inventory":"sha256:b11a85b296a90afc460430434a504e7acb04b064575b7277724688af0e59d189","seed":7,"parent":null,"created_at":1000,"created_by":"ann"},"by":"ann"}}');
INSERT INTO deploy.records VALUES (1, 2, 1, 4780552257982795384, '{"format":1,"seq":2,"at":2000,"rollout":"r1","event":{"type":"wave_started","wave":0}}');
INSERT INTO deploy.records VALUES (1, 3, 1, 468369937658950115, '{"format":1,"seq":3,"at":3000,"rollout":"r1","event":{"type":"finished","outcome":"succeeded"}}');
INSERT INTO deploy.records VALUES (1, 4, 2, -5868050349134120231, '{"format":2,"seq":4,"at":4000,"rollout":"r2","event":{"type":"accepted","plan":{"format":2,"work":"release","service":"web","deploy_path":"/srv/web","account":null,"release":"web-1","releases":{"web-1":{"id":"web-1","version":"web-1","package":null,"descriptor":{"digest":"sha256:c4719afa76fa448b5eca99e6736885846501d17956f2fcb2de5c916d723f3a87","size":1},"steps":[{"name":"install","timeout":{"secs":300,"nanos":0},"effect":"once"},{"name":"start","timeout":{"secs":300,"nanos":0},"effect":"once"}],"parameters":{}}},"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}},"waves":[[{"host":{"name":"h1","connection":{"via":"local","root":"/nowhere/h1"},"labels":{}},"from":null,"to":"web-1"}]],"no_ops":[],"inventory":"sha256:b11a85b296a90afc460430434a504e7acb04b064575b7277724688af0e59d189","seed":7,"parent":null,"created_at":1000,"created_by":"ann"},"by":"ann"}}');
INSERT INTO deploy.records VALUES (1, 5, 1, -6349735734087753187, '{"format":1,"seq":5,"at":5000,"rollout":"r2","event":{"type":"wave_started","wave":0}}');


--
-- Data for Name: releases; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.releases VALUES ('web-1', 'web', 1000, 1, -3608435738187132729, '{"id":"web-1","service":"web","version":"web-1","package":null,"descriptor":{"digest":"sha256:c4719afa76fa448b5eca99e6736885846501d17956f2fcb2de5c916d723f3a87","size":1},"steps":[{"name":"install","timeout":{"secs":300,"nanos":0},"effect":"once"},{"name":"start","timeout":{"secs":300,"nanos":0},"effect":"once"}],"parameters":{},"created_at":1000,"created_by":"ann","provenance":""}');


--
-- Data for Name: rollouts; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.rollouts OVERRIDING SYSTEM VALUE VALUES (1, 'r1', 1, 1, 3);
INSERT INTO deploy.rollouts OVERRIDING SYSTEM VALUE VALUES (2, 'r2', 1, 4, NULL);


--
-- Data for Name: service_revisions; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.service_revisions VALUES ('web', 1, 1, 2445816857338347423, '{"name":"web","owner":"ann","deploy_path":"/srv/web","account":null,"selector":"zone=a","count":null,"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}},"repair":{"debt":null,"drift":"report"}}');
INSERT INTO deploy.service_revisions VALUES ('web', 2, 1, 2445816857338347423, '{"name":"web","owner":"ann","deploy_path":"/srv/web","account":null,"selector":"zone=a","count":null,"strategy":{"waves":["100%"],"max_parallel":null,"confirm":"never","bake_time":{"secs":0,"nanos":0},"health":{"min_healthy_time":{"secs":10,"nanos":0},"healthy_deadline":{"secs":300,"nanos":0},"check_interval":{"secs":10,"nanos":0}},"progress_deadline":{"secs":600,"nanos":0},"failure_budget":{"rollout":{"max_failed":"0","max_unreachable":"0","max_timed_out":"0","max_consecutive":null,"max_unknown":"0"},"wave":null},"on_failure":"pause","retries":{"retries":0,"backoff":{"secs":5,"nanos":0},"max_backoff":{"secs":300,"nanos":0}},"order":"name","stagger":{"fixed":{"secs":0,"nanos":0},"random":{"secs":0,"nanos":0}},"schedule":{"windows":[],"freezes":[]}},"repair":{"debt":null,"drift":"report"}}');


--
-- Data for Name: services; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.services VALUES ('web', 2);


--
-- Data for Name: streams; Type: TABLE DATA; Schema: deploy; Owner: -
--

INSERT INTO deploy.streams OVERRIDING SYSTEM VALUE VALUES (1, 'service/web', 5, 'r2');


--
-- Name: answers_epoch_seq; Type: SEQUENCE SET; Schema: deploy; Owner: -
--

SELECT pg_catalog.setval('deploy.answers_epoch_seq', 2, true);


--
-- Name: rollouts_ordinal_seq; Type: SEQUENCE SET; Schema: deploy; Owner: -
--

SELECT pg_catalog.setval('deploy.rollouts_ordinal_seq', 2, true);


--
-- Name: streams_id_seq; Type: SEQUENCE SET; Schema: deploy; Owner: -
--

SELECT pg_catalog.setval('deploy.streams_id_seq', 1, true);


--
-- Name: agent_keys agent_keys_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.agent_keys
    ADD CONSTRAINT agent_keys_pkey PRIMARY KEY (fingerprint);


--
-- Name: agents agents_natural_key_key; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.agents
    ADD CONSTRAINT agents_natural_key_key UNIQUE (natural_key);


--
-- Name: agents agents_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.agents
    ADD CONSTRAINT agents_pkey PRIMARY KEY (host);


--
-- Name: answers answers_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.answers
    ADD CONSTRAINT answers_pkey PRIMARY KEY (epoch);


--
-- Name: answers answers_principal_idempotency_key_key; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.answers
    ADD CONSTRAINT answers_principal_idempotency_key_key UNIQUE (principal, idempotency_key);


--
-- Name: api_tokens api_tokens_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.api_tokens
    ADD CONSTRAINT api_tokens_pkey PRIMARY KEY (id);


--
-- Name: channel_moves channel_moves_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.channel_moves
    ADD CONSTRAINT channel_moves_pkey PRIMARY KEY (repository, kind, name, revision);


--
-- Name: channels channels_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.channels
    ADD CONSTRAINT channels_pkey PRIMARY KEY (repository, kind, name);


--
-- Name: deploy_schema deploy_schema_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.deploy_schema
    ADD CONSTRAINT deploy_schema_pkey PRIMARY KEY (version);


--
-- Name: floors floors_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.floors
    ADD CONSTRAINT floors_pkey PRIMARY KEY ("position");


--
-- Name: host_revisions host_revisions_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.host_revisions
    ADD CONSTRAINT host_revisions_pkey PRIMARY KEY (name);


--
-- Name: hosts hosts_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.hosts
    ADD CONSTRAINT hosts_pkey PRIMARY KEY (name);


--
-- Name: installed installed_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.installed
    ADD CONSTRAINT installed_pkey PRIMARY KEY (service, host);


--
-- Name: join_tokens join_tokens_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.join_tokens
    ADD CONSTRAINT join_tokens_pkey PRIMARY KEY (id);


--
-- Name: leases leases_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (name);


--
-- Name: log_attempts log_attempts_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.log_attempts
    ADD CONSTRAINT log_attempts_pkey PRIMARY KEY (rollout, host, generation);


--
-- Name: log_chunks log_chunks_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.log_chunks
    ADD CONSTRAINT log_chunks_pkey PRIMARY KEY (rollout, "position");


--
-- Name: log_rollouts log_rollouts_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.log_rollouts
    ADD CONSTRAINT log_rollouts_pkey PRIMARY KEY (rollout);


--
-- Name: records records_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.records
    ADD CONSTRAINT records_pkey PRIMARY KEY (stream_id, seq);


--
-- Name: releases releases_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.releases
    ADD CONSTRAINT releases_pkey PRIMARY KEY (id);


--
-- Name: rollouts rollouts_id_key; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.rollouts
    ADD CONSTRAINT rollouts_id_key UNIQUE (id);


--
-- Name: rollouts rollouts_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.rollouts
    ADD CONSTRAINT rollouts_pkey PRIMARY KEY (ordinal);


--
-- Name: service_revisions service_revisions_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.service_revisions
    ADD CONSTRAINT service_revisions_pkey PRIMARY KEY (service, revision);


--
-- Name: services services_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.services
    ADD CONSTRAINT services_pkey PRIMARY KEY (name);


--
-- Name: streams streams_name_key; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.streams
    ADD CONSTRAINT streams_name_key UNIQUE (name);


--
-- Name: streams streams_pkey; Type: CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.streams
    ADD CONSTRAINT streams_pkey PRIMARY KEY (id);


--
-- Name: agent_keys_of_host; Type: INDEX; Schema: deploy; Owner: -
--

CREATE INDEX agent_keys_of_host ON deploy.agent_keys USING btree (host);


--
-- Name: agents_kept_out; Type: INDEX; Schema: deploy; Owner: -
--

CREATE INDEX agents_kept_out ON deploy.agents USING btree (host) WHERE (kept_out = 1);


--
-- Name: answers_by_age; Type: INDEX; Schema: deploy; Owner: -
--

CREATE INDEX answers_by_age ON deploy.answers USING btree (answered_at);


--
-- Name: installed_on_host; Type: INDEX; Schema: deploy; Owner: -
--

CREATE INDEX installed_on_host ON deploy.installed USING btree (host);


--
-- Name: log_chunks_of_host; Type: INDEX; Schema: deploy; Owner: -
--

CREATE INDEX log_chunks_of_host ON deploy.log_chunks USING btree (rollout, host, "position");


--
-- Name: releases_of_service; Type: INDEX; Schema: deploy; Owner: -
--

CREATE INDEX releases_of_service ON deploy.releases USING btree (service, created_at, id);


--
-- Name: rollouts_of_stream; Type: INDEX; Schema: deploy; Owner: -
--

CREATE INDEX rollouts_of_stream ON deploy.rollouts USING btree (stream_id, ordinal);


--
-- Name: agent_keys agent_keys_host_fkey; Type: FK CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.agent_keys
    ADD CONSTRAINT agent_keys_host_fkey FOREIGN KEY (host) REFERENCES deploy.agents(host) ON DELETE CASCADE;


--
-- Name: channel_moves channel_moves_repository_kind_name_fkey; Type: FK CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.channel_moves
    ADD CONSTRAINT channel_moves_repository_kind_name_fkey FOREIGN KEY (repository, kind, name) REFERENCES deploy.channels(repository, kind, name);


--
-- Name: installed installed_host_fkey; Type: FK CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.installed
    ADD CONSTRAINT installed_host_fkey FOREIGN KEY (host) REFERENCES deploy.hosts(name) ON DELETE CASCADE;


--
-- Name: releases releases_service_fkey; Type: FK CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.releases
    ADD CONSTRAINT releases_service_fkey FOREIGN KEY (service) REFERENCES deploy.services(name);


--
-- Name: rollouts rollouts_stream_id_fkey; Type: FK CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.rollouts
    ADD CONSTRAINT rollouts_stream_id_fkey FOREIGN KEY (stream_id) REFERENCES deploy.streams(id);


--
-- Name: service_revisions service_revisions_service_fkey; Type: FK CONSTRAINT; Schema: deploy; Owner: -
--

ALTER TABLE ONLY deploy.service_revisions
    ADD CONSTRAINT service_revisions_service_fkey FOREIGN KEY (service) REFERENCES deploy.services(name);


--
-- PostgreSQL database dump complete
--

\unrestrict 1pORKi03bmUh34HeoutUkOaLoDTjFgtPY0f5XagznvkCOnilB04kb3JtuiqluHa
