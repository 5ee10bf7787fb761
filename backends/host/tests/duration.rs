//! Lengths of time, as they are written.
use deploy_host::duration::{format, parse};
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn only_plain_lengths_are_read() {
    let fine = [
        ("0s", 0),
        ("1ms", 1),
        ("1d2h3m4s5ms", 93_784_005),
        ("90m", 5_400_000),
        ("007s", 7_000),
        ("1000d", 86_400_000_000),
    ];
    for (text, millis) in fine {
        assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
    }
    let wrong = [
        "",
        "5",
        "s",
        "5 s",
        " 5s",
        "5s ",
        "-5s",
        "+5s",
        "1.5s",
        "5S",
        "5sec",
        "5m5m",
        "5s5m",
        "1001d",
        "5ms1s",
        "5s,",
        "٥s",
        "99999999999999999999s",
        "18446744073709551615d",
        "5\0s",
        "1d1001d",
    ];
    for text in wrong {
        assert!(parse(text).is_err(), "{text:?}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(millis in 0u64..86_400_000_000) {
        let duration = Duration::from_millis(millis);
        prop_assert_eq!(parse(&format(duration)), Ok(duration));
    }

    #[test]
    fn no_text_breaks_it(text in "([0-9]{0,25}|[a-z]{0,3}|\\PC){0,6}") {
        drop(parse(&text));
    }
}
