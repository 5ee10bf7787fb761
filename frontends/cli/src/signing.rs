//! The keys of publishers, as files of this machine, and what is signed with them.
use crate::{
    files::Source,
    problem::{invalid, usage},
};
use clap::{Args, ValueHint};
use deploy_package::publisher::{KeyList, Statement};
use deploy_wire::{Problem, ProblemCode, Signed, SignedKeys};
use minisign::{SecretKey, SecretKeyBox};
use std::{
    io::{Cursor, IsTerminal as _},
    path::{Path, PathBuf},
};

/// The largest file of a key, a password or a statement, in bytes.
const LARGEST: u64 = 64 << 10;

/// How secret keys begin that have a password: Ed25519, scrypt and BLAKE2.
const ENCRYPTED: &str = "RWRTY0Iy";
/// And those that have none.
const PLAIN: &str = "RWQAAEIy";

/// With which keys something is signed.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// Signs with this key of a publisher, in the format of minisign; may be given again. `deploy key create` makes one
    #[arg(long = "sign-key", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) sign_keys: Vec<PathBuf>,
    /// The file with the password of these keys; without it a terminal is asked
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) password_file: Option<PathBuf>,
}

/// Who signs a release that is made here.
#[derive(Debug, Args)]
pub(crate) struct SignersArgs {
    #[command(flatten)]
    sign: SignArgs,
    /// A list of keys that leads hosts from the keys that they believe to the signers; may be given again, the oldest first.
    /// `deploy key rotate` makes one
    #[arg(long = "key-list", value_name = "FILE", value_hint = ValueHint::FilePath)]
    key_lists: Vec<PathBuf>,
}

/// What publishers say of a release.
#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    signers: SignersArgs,
    /// What was signed elsewhere, as `deploy release statement` printed it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "signatures", conflicts_with = "sign_keys")]
    statement: Option<PathBuf>,
    /// A signature on it, as minisign writes it; may be given again
    #[arg(long = "signature", value_name = "FILE", value_hint = ValueHint::FilePath, requires = "statement")]
    signatures: Vec<PathBuf>,
}

/// Where a release is signed.
pub(crate) enum Publisher {
    Here(Signers),
    Elsewhere(Signed),
}

/// Who signs, with keys that are open.
pub(crate) struct Signers {
    keys: Keys,
    key_lists: Vec<SignedKeys>,
}

/// Secret keys that are open.
pub(crate) struct Keys(Vec<(PathBuf, SecretKey)>);

impl SignArgs {
    /// Opens the keys, and asks for passwords where nothing else says them.
    pub(crate) fn open(&self) -> Result<Keys, Problem> {
        let password_file = self.password_file.as_deref();
        let open = |it: &PathBuf| Ok((it.clone(), secret_key(it, password_file)?));
        self.sign_keys.iter().map(open).collect::<Result<_, _>>().map(Keys)
    }
}

impl Keys {
    /// Signs `text` with each key.
    pub(crate) fn sign(&self, text: &str) -> Result<Vec<String>, Problem> {
        self.0.iter().map(|(path, key)| sign(text, path, key)).collect()
    }
}

impl SignersArgs {
    /// Whether anything of it is said.
    pub(crate) const fn is_said(&self) -> bool {
        !self.sign.sign_keys.is_empty() || !self.key_lists.is_empty()
    }

    /// Opens the keys of those who sign; `None` if nobody does.
    pub(crate) fn open(&self) -> Result<Option<Signers>, Problem> {
        if self.sign.sign_keys.is_empty() {
            return match self.key_lists.is_empty() {
                true => Ok(None),
                false => Err(nothing_signed()),
            };
        }
        let key_lists = self.key_lists()?;
        Ok(Some(Signers { keys: self.sign.open()?, key_lists }))
    }

    fn key_lists(&self) -> Result<Vec<SignedKeys>, Problem> {
        self.key_lists.iter().map(|it| read_keys(it)).collect()
    }
}

fn nothing_signed() -> Problem {
    usage("`--key-list` goes with what is signed: `--sign-key`, or `--statement`")
}

impl Signers {
    /// Signs what is said of a release.
    pub(crate) fn sign(&self, statement: &Statement) -> Result<Signed, Problem> {
        let statement = text_of(statement)?;
        let signatures = self.keys.sign(&statement)?;
        Ok(Signed { statement, signatures, key_lists: self.key_lists.clone() })
    }
}

impl PublishArgs {
    /// Who says something of the release; `None` if nobody does.
    pub(crate) fn open(&self) -> Result<Option<Publisher>, Problem> {
        let Some(statement) = &self.statement else {
            return Ok(self.signers.open()?.map(Publisher::Here));
        };
        let signatures = self.signatures.iter().map(|it| read(it)).collect::<Result<_, _>>()?;
        let (statement, key_lists) = (read(statement)?, self.signers.key_lists()?);
        Ok(Some(Publisher::Elsewhere(Signed { statement, signatures, key_lists })))
    }
}

/// Whether what was signed is about the tree in the package, and not about its archive alone.
pub(crate) fn covers_tree(signed: &Signed) -> bool {
    let statement = Statement::read_unverified(signed.statement.as_bytes());
    statement.is_ok_and(|it| it.manifest.is_some())
}

/// What is signed of a statement.
pub(crate) fn text_of(statement: &Statement) -> Result<String, Problem> {
    let bytes = statement.to_bytes().map_err(invalid)?;
    String::from_utf8(bytes).map_err(invalid)
}

/// What is signed of a list of keys.
pub(crate) fn text_of_keys(list: &KeyList) -> Result<String, Problem> {
    String::from_utf8(list.to_bytes().map_err(invalid)?).map_err(invalid)
}

/// A password for a new key, from the file, or asked for twice.
pub(crate) fn new_password(file: Option<&Path>) -> Result<String, Problem> {
    if let Some(file) = file {
        return password_of(file);
    }
    let first = ask("Password for the new key: ")?;
    if first.is_empty() {
        return Err(invalid(
            "a password has at least one character; `--no-password` makes a key without one",
        ));
    }
    if first != ask("The same again: ")? {
        return Err(invalid("the two passwords are not the same: no key was made"));
    }
    Ok(first)
}

fn sign(text: &str, path: &Path, key: &SecretKey) -> Result<String, Problem> {
    let signature = minisign::sign(None, key, Cursor::new(text), None, None);
    let signature = signature.map_err(|err| unusable(path, &err))?;
    Ok(signature.into_string())
}

fn secret_key(path: &Path, password_file: Option<&Path>) -> Result<SecretKey, Problem> {
    let text = read(path)?;
    let boxed = SecretKeyBox::from(text.clone());
    let encoded = text.lines().nth(1).unwrap_or_default();
    if encoded.starts_with(PLAIN) {
        return boxed.into_unencrypted_secret_key().map_err(|err| unusable(path, &err));
    }
    if !encoded.starts_with(ENCRYPTED) {
        let message = format!("{}: it is no secret key of minisign", path.display());
        return Err(Problem::new(ProblemCode::InvalidFile, message)
            .with_hint("`deploy key create FILE` makes one")
            .with_context("file", path.display()));
    }
    let password = match password_file {
        Some(file) => password_of(file)?,
        None => ask(&format!("Password of {}: ", path.display()))?,
    };
    boxed.into_secret_key(Some(password)).map_err(|err| unusable(path, &err))
}

fn password_of(file: &Path) -> Result<String, Problem> {
    let text = read(file)?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(invalid(format!("{}: its first line is to be the password", file.display())));
    }
    Ok(password.to_owned())
}

fn ask(prompt: &str) -> Result<String, Problem> {
    if !std::io::stdin().is_terminal() {
        let message = "the key has a password, and nobody is here to be asked for it";
        return Err(usage(message).with_hint("`--password-file FILE` says where it is"));
    }
    let asked = rpassword::prompt_password(prompt);
    asked.map_err(|err| invalid(format!("the password cannot be read: {err}")))
}

fn read_keys(path: &Path) -> Result<SignedKeys, Problem> {
    let text = read(path)?;
    serde_json::from_str(&text).map_err(|err| {
        let message = format!("{}: it is no signed list of keys: {err}", path.display());
        Problem::new(ProblemCode::InvalidFile, message).with_context("file", path.display())
    })
}

fn read(path: &Path) -> Result<String, Problem> {
    Ok(Source::read(path, LARGEST)?.text().to_owned())
}

/// What minisign says of keys holds no part of them.
fn unusable(key: &Path, err: &minisign::PError) -> Problem {
    let message = format!("{}: the key cannot be used: {err}", key.display());
    Problem::new(ProblemCode::InvalidFile, message).with_context("file", key.display())
}
