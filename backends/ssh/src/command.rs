//! The command line that a host's login shell is given.
use crate::{failure::Failure, failure::quoted, process::SshProcess};
use deploy_core::{error::ErrorKind, id::AccountName};
use deploy_host::{
    quote::quote,
    transport::{HostCommand, HostOutput},
};
use std::{collections::VecDeque, time::Duration};
use tokio::time::timeout;

/// What the shell says on its standard error once `sudo` has let it start: without it, nothing was started.
const STARTED: &[u8] = b"deploy:account\n";
/// How much `sudo` and login scripts may say before that.
const MOST_NOISE: usize = 64 * 1024;
/// How long `sudo` may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A command line, and the account it switches to, if it does.
#[derive(Debug)]
pub(crate) struct CommandLine {
    pub(crate) text: String,
    pub(crate) switches_to: Option<AccountName>,
}

impl CommandLine {
    /// The line that runs `command` for somebody who logs in as `login`.
    pub(crate) fn new(command: &HostCommand, login: &str) -> Result<Self, Failure> {
        if command.words().iter().any(|it| it.contains('\0')) {
            return Err(Failure::invalid("a command cannot hold a NUL character"));
        }
        let account = command.account.as_ref().filter(|it| it.as_str() != login);
        let text = match account {
            None => format!("exec sh {}", quoted_words(command)),
            Some(account) => {
                let mut marked = command.clone();
                marked.script = format!("echo deploy:account >&2\n{}", command.script);
                let account = quote(account.as_str());
                format!("exec sudo -n -H -u {account} -- sh {}", quoted_words(&marked))
            }
        };
        Ok(Self { text, switches_to: account.cloned() })
    }
}

fn quoted_words(command: &HostCommand) -> String {
    command.words().into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// Waits until `sudo` has let `process` start as `account`; what was said before that is put back.
pub(crate) async fn switched(
    process: &mut SshProcess,
    account: &AccountName,
    login: &str,
) -> Result<(), Failure> {
    let mut heard = Heard::default();
    loop {
        let Ok(output) = timeout(PATIENCE, process.output()).await else {
            let seconds = PATIENCE.as_secs();
            return Err(Failure::unknown(format!("sudo did not answer within {seconds} s")));
        };
        match output? {
            Some(output) => {
                if heard.add(output) {
                    process.put_back(heard.output);
                    return Ok(());
                }
            }
            None => return Err(refusal(&heard.stderr(), account, login)),
        }
        if heard.size > MOST_NOISE {
            return Err(Failure::unknown("there is too much output before sudo has answered"));
        }
    }
}

/// What came before the shell has started.
#[derive(Debug, Default)]
struct Heard {
    output: VecDeque<HostOutput>,
    size: usize,
}

impl Heard {
    /// Adds `output`, and says whether the shell has started. What it said to tell so is taken out again.
    fn add(&mut self, output: HostOutput) -> bool {
        let (HostOutput::Stdout(bytes) | HostOutput::Stderr(bytes)) = &output;
        self.size += bytes.len();
        self.output.push_back(output);
        let heard = self.stderr();
        let Some(at) = find(&heard, STARTED) else { return false };
        let (before, after) = heard.split_at(at);
        let after = after.get(STARTED.len()..).unwrap_or_default();
        self.output.retain(|it| matches!(it, HostOutput::Stdout(_)));
        for part in [before, after].into_iter().filter(|it| !it.is_empty()) {
            self.output.push_back(HostOutput::Stderr(part.to_vec().into()));
        }
        true
    }

    fn stderr(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for output in &self.output {
            if let HostOutput::Stderr(bytes) = output {
                all.extend_from_slice(bytes);
            }
        }
        all
    }
}

/// Where `wanted` begins in `text`, at the beginning of a line.
fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let starts = text.windows(wanted.len()).enumerate().filter(|(_, it)| *it == wanted);
    starts.map(|(at, _)| at).find(|at| *at == 0 || text.get(at - 1) == Some(&b'\n'))
}

/// What `sudo`, or the shell that did not find it, meant by `stderr`.
fn refusal(stderr: &[u8], account: &AccountName, login: &str) -> Failure {
    let said = String::from_utf8_lossy(stderr);
    let last = quoted(said.lines().rfind(|it| !it.trim().is_empty()).unwrap_or("nothing"));
    if said.contains("unknown user") {
        let reason = format!("there is no account `{account}` on the host (sudo says: {last})");
        return Failure::new(ErrorKind::NotFound, reason);
    }
    // What sudo says itself begins with its name.
    if last.contains("not found") && !last.starts_with("sudo: ") {
        let reason = format!("`{login}` cannot become `{account}`: sudo is not installed ({last})");
        return Failure::new(ErrorKind::NotFound, reason);
    }
    Failure::new(
        ErrorKind::PermissionDenied,
        format!(
            "`{login}` may not become `{account}` without a password (sudo says: {last}). Put this into \
             /etc/sudoers.d/deploy on the host: {login} ALL=({account}) NOPASSWD: ALL"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::process::Command;

    fn line(command: &HostCommand, login: &str) -> String {
        CommandLine::new(command, login).unwrap().text
    }

    #[test]
    fn only_another_account_is_switched_to() {
        let command = HostCommand::new("true".into());
        assert_eq!(line(&command, "ops"), "exec sh -c true launcher");
        let command = command.with_account(Some("web".parse().unwrap()));
        assert_eq!(line(&command, "web"), "exec sh -c true launcher");
        let expected = "exec sudo -n -H -u web -- sh -c 'echo deploy:account >&2\ntrue' launcher";
        assert_eq!(line(&command, "ops"), expected);
        assert!(CommandLine::new(&HostCommand::new("a\0".into()), "ops").is_err());
    }

    #[test]
    fn the_sign_of_a_start_is_found_however_it_is_cut() {
        let all = b"warning\ndeploy:account\nhello";
        for cut in 0..all.len() {
            let mut heard = Heard::default();
            heard.add(HostOutput::Stdout("out".into()));
            let (one, two) = all.split_at(cut);
            let early = heard.add(HostOutput::Stderr(one.to_vec().into()));
            assert_eq!(early, cut >= 23);
            if !early {
                assert!(heard.add(HostOutput::Stderr(two.to_vec().into())));
            }
            let text = String::from_utf8(heard.stderr()).unwrap();
            assert!("warning\nhello".starts_with(&text), "{text}");
            assert_eq!(heard.output[0], HostOutput::Stdout("out".into()));
        }
        let mut heard = Heard::default();
        assert!(!heard.add(HostOutput::Stderr("not deploy:account\n".into())));
    }

    #[test]
    fn says_what_to_do_when_sudo_refuses() {
        let account = "web".parse().unwrap();
        let text = |said: &str| {
            let err = refusal(said.as_bytes(), &account, "ops").at("ssh.open", &"h", &"h");
            (err.kind(), err.chain())
        };
        let (kind, chain) = text("sudo: a password is required\n");
        assert_eq!(kind, ErrorKind::PermissionDenied);
        assert!(chain.contains("ops ALL=(web) NOPASSWD: ALL"), "{chain}");
        assert_eq!(
            text("sudo: unknown user web\nsudo: error initializing audit plugin\n").0,
            ErrorKind::NotFound
        );
        for said in [
            "bash: line 1: exec: sudo: not found",
            "sh: 1: exec: sudo: not found",
            "zsh:1: command not found: sudo",
        ] {
            assert_eq!(text(said).0, ErrorKind::NotFound, "{said}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_shell_sees_identical_bytes(words in prop::collection::vec("[^\0]{0,40}", 1..20)) {
            let command = HostCommand::new(r#"printf '%s\0' "$@""#.into()).with_arguments(words.clone());
            let out = Command::new("sh").arg("-c").arg(line(&command, "ops")).output().unwrap();
            let expected: Vec<u8> = words.iter().flat_map(|it| [it.as_bytes(), b"\0"].concat()).collect();
            prop_assert_eq!(out.stdout, expected, "{:?}", String::from_utf8_lossy(&out.stderr));
        }
    }
}
