use super::*;
use proptest::prelude::*;

fn one(line: &str) -> Result<Option<Control>, BadControl> {
    let mut reader = ControlReader::default();
    reader.push(format!("{line}\n").as_bytes()).map(|mut it| it.pop())
}

#[test]
fn every_line_of_the_contract_is_understood() {
    let exit = |outcome, step, code| ExitRecord {
        token: "aa".to_owned(),
        generation: 7,
        outcome,
        step,
        code,
        reason: String::new(),
        log_length: 12,
        survivors: Vec::new(),
    };
    let lines = [
        ("have bytes=5", Control::Have { bytes: 5, way: Way::Whole }),
        ("have bytes=0 way=patch", Control::Have { bytes: 0, way: Way::Patch }),
        ("have bytes=9 way=tree", Control::Have { bytes: 9, way: Way::Tree }),
        ("started pid=1 boot=ab-cd", Control::Started),
        ("attached state=running", Control::Attached),
        ("step index=0 name=pre_stop", Control::Step { name: StepName::PreStop }),
        ("fenced seen=9", Control::Fenced { seen: 9 }),
        ("busy generation=3 survivors=1:x", Control::Busy { generation: 3 }),
        (
            "exit token=aa generation=7 outcome=succeeded step=2 name=verify code=0 reason=- log_length=12 duration_ms=5",
            Control::Exit(exit(Outcome::Succeeded, Some(StepName::Verify), 0)),
        ),
        (
            "exit token=aa generation=7 outcome=failed step=2 name=start code=137 reason=- log_length=12 duration_ms=5",
            Control::Exit(exit(Outcome::Failed, Some(StepName::Start), 137)),
        ),
        (
            "died reason=rebooted step=0 name=- survivors=1:a%20b,2:c",
            Control::Died {
                cause: DeathCause::Rebooted,
                step: None,
                survivors: vec!["1:a b".to_owned(), "2:c".to_owned()],
            },
        ),
        ("never_started", Control::NeverStarted),
        ("running generation=7 pid=2 step=0 name=-", Control::Running),
        ("killed", Control::Killed),
        (
            "kill_failed survivors=12:sh",
            Control::KillFailed { survivors: vec!["12:sh".to_owned()] },
        ),
        ("healthy", Control::Healthy),
        ("unhealthy code=3", Control::Unhealthy { code: 3 }),
        ("unsupported", Control::Unsupported),
        ("resolved result=not_done code=1", Control::Resolved { result: "not_done".to_owned() }),
        (
            "observed fence=0 release= generation=0 running=0",
            Control::Observed { fence: 0, release: None, running: None },
        ),
        (
            "observed fence=9 release=web-1 generation=9 running=9",
            Control::Observed { fence: 9, release: Some("web-1".to_owned()), running: Some(9) },
        ),
        (
            "error code=no_space message=it%27s%20full%0a",
            Control::Error { code: "no_space".to_owned(), message: "it's full\n".to_owned() },
        ),
    ];
    for (line, want) in lines {
        assert_eq!(one(&format!("deploy:{line}")), Ok(Some(want)), "{line}");
    }
}

#[test]
fn what_is_not_as_agreed_is_an_error() {
    let lines = [
        "",
        "halted",
        "have",
        "have bytes=x",
        "have bytes=1 way=up",
        "have bytes=1 bytes=2",
        "have bytes",
        "have  bytes=1",
        "fenced seen=-1",
        "exit token=aa",
        "died reason=bored",
        "unhealthy code=99999999999",
        "unhealthy code=300",
        "error code=%zz",
        "error code=%",
        "step name=brew",
        "exit token=aa generation=7 outcome=failed step=0 name=- code=1 reason=- log_length=1 duration_ms=1",
        "exit token=aa generation=7 outcome=great step=0 name=run code=1 reason=- log_length=1 duration_ms=1",
        "exit token=aa generation=18446744073709551616 outcome=succeeded step=0 name=run code=1 reason=- log_length=1",
    ];
    for line in lines {
        assert!(one(&format!("deploy:{line}")).is_err(), "{line}");
    }
}

#[test]
fn noise_is_kept_in_bounds_and_made_printable() {
    let mut reader = ControlReader::default();
    reader.push(b"sudo: \x1b[31mno\n").unwrap();
    for _ in 0..1_000 {
        reader.push(&[b'x'; 1_000]).unwrap();
    }
    assert!(reader.line.len() <= LONGEST_LINE);
    assert!(reader.noise().starts_with("sudo:  [31mno xxx"));
    assert!(reader.noise().len() <= 2 * NOISE_KEPT);
    assert!(!reader.heard());
}

#[test]
fn an_endless_control_line_is_an_error_in_bounded_memory() {
    let mut reader = ControlReader::default();
    reader.push(b"deploy:error code=").unwrap();
    for _ in 0..1_000 {
        assert_eq!(reader.push(&[b'x'; 1_000]), Ok(Vec::new()));
        assert!(reader.line.len() <= LONGEST_LINE);
    }
    assert!(reader.push(b"\n").is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
        drop(ControlReader::default().push(&bytes));
    }

    #[test]
    fn any_fields_are_survived(fields in proptest::collection::vec("(token|generation|name|code|%|=| |-|[0-9]{1,20}|failed|exit|died|reason){0,6}", 0..6)) {
        drop(one(&format!("deploy:exit {}", fields.join(" "))));
        drop(one(&format!("deploy:{}", fields.join(" "))));
    }

    #[test]
    fn it_does_not_matter_how_bytes_are_cut(cuts in proptest::collection::vec(0usize..200, 0..10)) {
        let text = b"noise\ndeploy:have bytes=5\nmore noise\ndeploy:died reason=supervisor_lost step=1 name=start\nrest";
        let whole = ControlReader::default().push(text).unwrap();
        let mut cuts: Vec<_> = cuts.into_iter().map(|it| it.min(text.len())).collect();
        cuts.sort_unstable();
        let mut reader = ControlReader::default();
        let (mut found, mut from) = (Vec::new(), 0);
        for to in cuts.into_iter().chain([text.len()]) {
            found.extend(reader.push(&text[from..to]).unwrap());
            from = to;
        }
        prop_assert_eq!(found, whole);
        prop_assert_eq!(reader.noise(), "noise more noise rest");
    }

    #[test]
    fn what_the_launcher_encodes_is_decoded(text in "\\PC{1,40}") {
        let encoded: String = text
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
            .collect();
        prop_assert_eq!(decode(&encoded), Ok(text));
    }
}
