//! The quoting function against the shells themselves.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use deploy_host::quote::quote;
use proptest::prelude::*;
use std::process::Command;

/// What `sh` takes the word to be.
fn seen_by(shell: &[&str], word: &str) -> Vec<u8> {
    let (program, arguments) = shell.split_first().unwrap();
    let output = Command::new(program)
        .args(arguments)
        .args(["-c", &format!("printf '%s|' {}", quote(word))])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{word:?}: {output:?}");
    output.stdout
}

/// The same, where the word is assigned in a file that is read with `.`.
fn seen_by_assignment(shell: &[&str], word: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("env");
    std::fs::write(&file, format!("P_X={}\n", quote(word))).unwrap();
    let (program, arguments) = shell.split_first().unwrap();
    let script = ". \"$1\"; printf '%s|' \"$P_X\"";
    let output = Command::new(program)
        .args(arguments)
        .args(["-c", script, "sh", file.to_str().unwrap()])
        .output()
        .unwrap();
    output.stdout
}

const SHELLS: [&[&str]; 3] = [&["dash"], &["bash"], &["busybox", "sh"]];

fn check(word: &str) {
    let want = [word.as_bytes(), b"|"].concat();
    for shell in SHELLS {
        assert_eq!(seen_by(shell, word), want, "{shell:?} {word:?}");
        assert_eq!(seen_by_assignment(shell, word), want, "{shell:?} {word:?}");
    }
}

#[test]
fn hostile_words_stay_words() {
    let words = [
        "",
        "'",
        "''",
        "'\\''",
        "\\",
        "\\'",
        "\"",
        "$HOME",
        "$(id)",
        "`id`",
        "a b",
        "a\nb",
        "\n",
        "\t",
        "*",
        "?",
        "~",
        "#",
        "-n",
        "--",
        "a;id",
        "a&id",
        "a|id",
        "a>x",
        "!",
        "!!",
        "{a,b}",
        "[a-z]*",
        "=",
        "a=b",
        "ä",
        "\u{1b}[2J",
        "\u{7f}",
        "\r\n",
        "%s",
        "$'x'",
        "';id;'",
        "\u{202e}",
        "🚀",
    ];
    for word in words {
        check(word);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_word_stays_a_word(word in "([\u{1}-\u{7f}]|['\\\\$`\"!*? \n]|\\PC){0,60}") {
        check(&word);
    }
}
