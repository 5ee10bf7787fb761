use deploy_core::spec::{ParseWavesError, Waves};
use proptest::prelude::*;

fn waves(text: &str) -> Waves {
    text.parse().unwrap()
}

#[test]
fn sizes_follow_the_expressions() {
    let cases: [(&str, u32, &[u32]); 13] = [
        ("2,10%,*2", 100, &[2, 10, 20, 40, 28]),
        ("500", 1_200, &[500, 500, 200]),
        ("100%", 7, &[7]),
        ("1", 3, &[1, 1, 1]),
        ("1%", 10, &[1; 10]),
        ("34%", 10, &[4, 4, 2]),
        ("1,+2", 10, &[1, 3, 5, 1]),
        ("3,*1", 7, &[3, 3, 1]),
        ("1,*2", 20, &[1, 2, 4, 8, 5]),
        ("2,+1,10", 20, &[2, 3, 10, 5]),
        ("5", 0, &[]),
        ("4294967295,*4294967295", 5, &[5]),
        ("1,+4294967295,*4294967295", u32::MAX, &[1, u32::MAX - 1]),
    ];
    for (text, total, expected) in cases {
        assert_eq!(waves(text).sizes(total), expected, "{text} of {total}");
    }
}

#[test]
fn the_default_is_one_wave_of_everything() {
    assert_eq!(Waves::default(), waves("100%"));
    assert_eq!(Waves::default().sizes(9), [9]);
}

#[test]
fn impossible_sizes_do_not_parse() {
    let cases = [
        ("", "each must be like"),
        ("0", "0 would never end"),
        ("0%", "0 would never end"),
        ("1,+0", "0 would never end"),
        ("1,*0", "0 would never end"),
        ("101%", "no more than 100%"),
        ("+1", "the first wave has none before it"),
        ("*2", "the first wave has none before it"),
        ("4294967296", "too large"),
        ("1,", "each must be like"),
        ("-1", "each must be like"),
        ("1.5", "each must be like"),
        ("1 %", "each must be like"),
        ("+1%", "each must be like"),
        ("٣", "each must be like"),
    ];
    for (text, reason) in cases {
        let err: ParseWavesError = text.parse::<Waves>().unwrap_err();
        assert!(err.to_string().contains(reason), "{text}: {err}");
    }
}

#[test]
fn a_list_in_a_file_is_a_list_of_texts() {
    let json = r#"["2","10%","*2"]"#;
    let parsed: Waves = serde_json::from_str(json).unwrap();
    assert_eq!(parsed, waves("2, 10%, *2"));
    assert_eq!(serde_json::to_string(&parsed).unwrap(), json);
    for refused in ["[]", r#"["*2"]"#, "[1]", r#"["2,3"]"#, r#""2""#] {
        assert!(serde_json::from_str::<Waves>(refused).is_err(), "{refused}");
    }
}

fn expressions() -> impl Strategy<Value = String> {
    let first = prop_oneof![
        (1_u32..500).prop_map(|it| it.to_string()),
        (1_u32..=100).prop_map(|it| format!("{it}%")),
    ];
    let next = prop_oneof![
        first.clone(),
        (1_u32..50).prop_map(|it| format!("+{it}")),
        (1_u32..5).prop_map(|it| format!("*{it}")),
    ];
    (first, prop::collection::vec(next, 0..4)).prop_map(|(first, next)| {
        let all: Vec<String> = std::iter::once(first).chain(next).collect();
        all.join(",")
    })
}

proptest! {
    #[test]
    fn sizes_add_up_and_none_is_empty(text in expressions(), total in 0_u32..20_000) {
        let sizes = waves(&text).sizes(total);
        prop_assert_eq!(sizes.iter().sum::<u32>(), total);
        prop_assert!(sizes.iter().all(|it| *it > 0));
    }

    #[test]
    fn what_grows_by_the_wave_before_never_shrinks(first in 1_u32..50, grow in "[+*][1-9]", total in 1_u32..5_000) {
        let sizes = waves(&format!("{first},{grow}")).sizes(total);
        let whole = &sizes[..sizes.len() - 1];
        prop_assert!(whole.is_sorted());
    }

    #[test]
    fn a_share_is_the_smallest_that_is_enough(percent in 1_u32..=100, total in 1_u32..100_000) {
        let size = waves(&format!("{percent}%")).sizes(total)[0];
        prop_assert!(u64::from(size) * 100 >= u64::from(total) * u64::from(percent));
        prop_assert!(u64::from(size - 1) * 100 < u64::from(total) * u64::from(percent));
    }

    #[test]
    fn text_round_trips(text in expressions()) {
        prop_assert_eq!(waves(&text).to_string(), text);
    }

    #[test]
    fn no_text_panics(text in ".*") {
        if let Ok(waves) = text.parse::<Waves>() {
            prop_assert_eq!(waves.to_string().parse(), Ok(waves));
        }
    }
}
