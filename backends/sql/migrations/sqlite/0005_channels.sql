-- Names that lead to versions, and every move of them. A channel that is closed stays, so that its revisions grow on.
CREATE TABLE channels (
    repository TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (repository, kind, name)
) STRICT, WITHOUT ROWID;

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
