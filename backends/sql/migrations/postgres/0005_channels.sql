-- Names that lead to versions, and every move of them. A channel that is closed stays, so that its revisions grow on.
CREATE TABLE channels (
    repository TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    PRIMARY KEY (repository, kind, name)
);

CREATE TABLE channel_moves (
    repository TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    revision BIGINT NOT NULL,
    format BIGINT NOT NULL,
    checksum BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (repository, kind, name, revision),
    FOREIGN KEY (repository, kind, name) REFERENCES channels (repository, kind, name)
);
