use crate::{
    app::App,
    files::{is_new, write_secret, write_whole},
    problem::{invalid, usage},
    signing::{SignArgs, new_password, text_of_keys},
};
use clap::{Args, Subcommand, ValueHint};
use deploy_package::publisher::{KeyList, PublisherKey};
use deploy_wire::{Exit, Problem, SignedKeys};
use minisign::KeyPair;
use serde::Serialize;
use std::{num::NonZeroU64, path::PathBuf};

/// Keys of publishers, by whose signatures hosts know what they may run
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    Create(Create),
    Rotate(Rotate),
}

/// Makes the key of a publisher, in the format of minisign
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy key create ~/publisher.key\n\n\
    The public key goes next to it, as `.pub`, and onto hosts: into [publishers] of their host.toml, or by \
    `deploy-agent enrol --publisher`. Keep the secret one off the server.")]
pub(crate) struct Create {
    /// Where the secret key is to be
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// The file with the password for it; without it a terminal is asked
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    password_file: Option<PathBuf>,
    /// No password: whoever has the file can sign
    #[arg(long, conflicts_with = "password_file")]
    no_password: bool,
}

/// Makes a list of keys that takes the place of those that hosts believe, signed by these
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  deploy key rotate --serial 1 --key RWQf6LRC... --needed 1 --sign-key old.key --to publishers-1.json\n  \
    deploy release create web 1.5.0 --package build/ --descriptor descriptor/ --sign-key new.key --key-list publishers-1.json\n\n\
    Hosts follow it with the first release that brings it, and believe the earlier keys no more."
)]
pub(crate) struct Rotate {
    /// A number that is greater than that of the list before
    #[arg(long, value_name = "N")]
    serial: NonZeroU64,
    /// A public key that is to be believed; may be given again
    #[arg(long = "key", value_name = "KEY", required = true)]
    keys: Vec<PublisherKey>,
    /// How many of them have to sign
    #[arg(long, value_name = "N", default_value_t = 1)]
    needed: usize,
    #[command(flatten)]
    sign: SignArgs,
    /// Where the list is to be
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    to: PathBuf,
}

/// What `key create` prints for programs.
#[derive(Debug, Serialize)]
struct Created {
    public_key: String,
    secret_file: String,
    public_file: String,
}

impl KeyCommand {
    pub(crate) fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Create(command) => command.run(app),
            Self::Rotate(command) => command.run(app),
        }
    }
}

impl Create {
    fn run(self, app: &App) -> Result<Exit, Problem> {
        let made = if self.no_password {
            KeyPair::generate_unencrypted_keypair()
        } else {
            KeyPair::generate_encrypted_keypair(Some(new_password(self.password_file.as_deref())?))
        };
        let made = made.map_err(|err| invalid(format!("no key can be made: {err}")))?;
        let public_key = made.pk.to_base64();
        let secret =
            made.sk.to_box(None).map_err(|err| invalid(format!("no key can be made: {err}")))?;
        let mut public_file = self.file.clone().into_os_string();
        public_file.push(".pub");
        let public_file = PathBuf::from(public_file);
        let public =
            made.pk.to_box().map_err(|err| invalid(format!("no key can be made: {err}")))?;
        is_new(&self.file)?;
        is_new(&public_file)?;
        // Whoever has only the one can do nothing with it.
        write_whole(&public_file, &public.into_string())?;
        write_secret(&self.file, &secret.into_string())?;
        let created = Created {
            public_key,
            secret_file: self.file.display().to_string(),
            public_file: public_file.display().to_string(),
        };
        app.output.result(&created, |output| {
            output.line(format_args!("public key {}", created.public_key));
            output.note(format_args!("the secret one is in {}", created.secret_file));
        });
        Ok(Exit::Succeeded)
    }
}

impl Rotate {
    fn run(self, app: &App) -> Result<Exit, Problem> {
        if self.sign.sign_keys.is_empty() {
            return Err(usage("a list of keys is signed by those before it: `--sign-key FILE`"));
        }
        let list = KeyList::new(self.serial.get(), self.needed, self.keys);
        list.publishers().map_err(|why| usage(why.to_string()))?;
        let text = text_of_keys(&list)?;
        let signed = SignedKeys { signatures: self.sign.open()?.sign(&text)?, list: text };
        let document = serde_json::to_string(&signed).map_err(invalid)?;
        write_whole(&self.to, &format!("{document}\n"))?;
        app.output.result(&signed, |output| {
            output.line(format_args!("list {} is in {}", list.serial, self.to.display()));
        });
        Ok(Exit::Succeeded)
    }
}
