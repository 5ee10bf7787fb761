use serde::{Deserialize, Serialize};

/// Where commands go: `context current`, `use`, `set` and `remove` print one, `context list` a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The name of the context; null where none says it.
    pub name: Option<String>,
    /// The server; null where commands go to a data folder.
    pub server: Option<String>,
    /// The data folder; null where commands go to a server.
    pub data_dir: Option<String>,
    /// The file with the certificate of the authority to trust.
    pub ca: Option<String>,
    /// The file with the token, or `stored` where it is kept beside the server's address; null where there is none.
    pub token: Option<String>,
    /// Whether commands go there that do not say otherwise.
    pub current: bool,
}
