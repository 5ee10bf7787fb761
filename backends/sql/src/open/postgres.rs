use super::{OpenError, OpenReason};
use crate::{
    fault::Fault,
    schema,
    store::{PostgresStore, Store},
};
use sqlx::{
    ConnectOptions as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{fmt, sync::Arc, time::Duration};

/// How to connect to PostgreSQL.
#[derive(Clone)]
#[non_exhaustive]
pub struct ConnectPostgres {
    /// Where the server is, as `postgres://USER@HOST:PORT/DATABASE`.
    pub url: String,
    /// How long to wait until a commit is confirmed. After that nobody knows its outcome: with a synchronous standby
    /// that is gone, a commit hangs and no setting of the server ends it.
    pub commit_deadline: Duration,
    /// How many connections are open at most.
    pub connections: u32,
}

impl ConnectPostgres {
    /// The server at `url`, with ten seconds for a commit and ten connections.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), commit_deadline: Duration::from_secs(10), connections: 10 }
    }

    /// Waiting at most `commit_deadline` for a commit.
    #[must_use]
    pub const fn with_commit_deadline(mut self, commit_deadline: Duration) -> Self {
        self.commit_deadline = commit_deadline;
        self
    }

    /// With at most so many connections.
    #[must_use]
    pub const fn with_connections(mut self, connections: u32) -> Self {
        self.connections = connections;
        self
    }
}

impl fmt::Debug for ConnectPostgres {
    /// Without the address, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectPostgres")
            .field("commit_deadline", &self.commit_deadline)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

/// How long to wait for a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

pub(crate) async fn connect(request: &ConnectPostgres) -> Result<Store, OpenError> {
    let options = parse(&request.url)?;
    let label = label(&options);
    // The pool tries on while a server cannot be reached, and forgets why it could not.
    let first = async {
        let mut connection = options.connect().await?;
        prepare(&mut connection).await?;
        sqlx::Connection::close(connection).await
    };
    let tried = tokio::time::timeout(CONNECT_DEADLINE, first).await;
    let tried = tried.map_err(|_| Fault::Late(CONNECT_DEADLINE)).and_then(|done| Ok(done?));
    tried.map_err(|fault| OpenError::from_fault(&label, fault))?;
    let pool = PgPoolOptions::new()
        .max_connections(request.connections)
        .acquire_timeout(CONNECT_DEADLINE)
        .after_connect(|connection, _| Box::pin(prepare(connection)))
        .connect_lazy_with(options);
    let commit_deadline = request.commit_deadline;
    let store = Store::Postgres(Arc::new(PostgresStore { label, pool, commit_deadline }));
    schema::migrate(&store, schema::POSTGRES).await?;
    Ok(store)
}

fn parse(url: &str) -> Result<PgConnectOptions, OpenError> {
    // What is misspelt is refused here: the driver would write it into the log, value and all.
    const KNOWN: [&str; 9] = [
        "application_name",
        "dbname",
        "host",
        "password",
        "port",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslrootcert",
    ];
    let invalid = |why: String| OpenError::new("postgres", OpenReason::InvalidUrl).because(why);
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let keys = query
        .split('&')
        .filter(|it| !it.is_empty())
        .map(|it| it.split_once('=').map_or(it, |(key, _)| key));
    for key in keys {
        if !KNOWN.contains(&key) && key != "user" {
            return Err(invalid(format!("`{}` is no parameter of an address", key.escape_debug())));
        }
    }
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(invalid("it does not begin with `postgres://`".to_owned()));
    }
    // The error names what is wrong, never the address: that may hold a password.
    let options: PgConnectOptions =
        url.parse().map_err(|_: sqlx::Error| invalid("a part of it is malformed".to_owned()))?;
    Ok(options.disable_statement_logging())
}

/// Names the database without user or password.
fn label(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("postgres:{}:{}/{database}", socket.display(), options.get_port()),
        None => format!("postgres://{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

/// Chooses the schema, and refuses a server that would lose what it has confirmed: also the one that takes over after
/// a failover, so every connection is asked.
async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    const SQL: &str = "SELECT set_config('search_path', 'deploy', false), current_setting('fsync'), \
         current_setting('full_page_writes'), current_setting('synchronous_commit'), \
         current_setting('server_encoding'), pg_is_in_recovery()";
    let row: (String, String, String, String, String, bool) =
        sqlx::query_as(SQL).fetch_one(connection).await?;
    let (_, fsync, full_page_writes, synchronous_commit, encoding, standby) = row;
    if standby {
        return Err(OpenReason::Standby.into());
    }
    let stronger_than_on = "remote_apply";
    for (setting, value, needed, also) in [
        ("fsync", fsync, "on", "on"),
        ("full_page_writes", full_page_writes, "on", "on"),
        ("synchronous_commit", synchronous_commit, "on", stronger_than_on),
        ("server_encoding", encoding, "UTF8", "UTF8"),
    ] {
        if value != needed && value != also {
            return Err(
                OpenReason::NotDurable { setting: setting.to_owned(), value, needed }.into()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn no_message_holds_the_password() {
        for url in [
            "postgres://ann:s3cret@host:notaport/db",
            "postgres://ann:s3cret@host/db?passwd=s3cret",
            "mysql://ann:s3cret@host/db",
            "postgres://ann:s3cret@[::1/db",
        ] {
            let err = parse(url).unwrap_err();
            let text = format!("{err} {:?} {err:?}", err.source().map(ToString::to_string));
            assert!(!text.contains("s3cret"), "{text}");
            assert_eq!(*err.reason(), OpenReason::InvalidUrl);
        }
        let options =
            parse("postgres://ann:s3cret@db.example.com:5433/deploy?sslmode=require").unwrap();
        assert_eq!(label(&options), "postgres://db.example.com:5433/deploy");
        assert!(
            !format!("{:?}", ConnectPostgres::new("postgres://ann:s3cret@host/db"))
                .contains("s3cret")
        );
    }
}
