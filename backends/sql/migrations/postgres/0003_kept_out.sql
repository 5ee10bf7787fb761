-- 1 for agents that are not let in: whom a server has to keep out is asked every second.
ALTER TABLE agents ADD COLUMN kept_out BIGINT NOT NULL DEFAULT 0;
UPDATE agents SET kept_out = 1 WHERE body NOT LIKE '%"state":"active"%';
CREATE INDEX agents_kept_out ON agents (host) WHERE kept_out = 1;
