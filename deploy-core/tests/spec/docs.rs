//! What the documents show is accepted, and means what they say.
use deploy_core::spec::{Freeze, Schedule, Selector, Waves, Window};

const SELECTORS: &str = include_str!("../../../docs/selectors.md");
const STRATEGY: &str = include_str!("../../../docs/strategy.md");

/// The code in the first cell of the rows of a table.
fn first_cells<'a>(document: &'a str, header: &str) -> Vec<&'a str> {
    let lines = document.lines().skip_while(|it| !it.starts_with(header)).skip(2);
    let rows = lines.take_while(|it| it.starts_with('|'));
    let cells = rows.filter_map(|it| it.split(" | ").next());
    cells.flat_map(|it| it.split('`').skip(1).step_by(2)).collect()
}

#[test]
fn selectors_parse() {
    let shown = first_cells(SELECTORS, "| text | matches a host");
    assert_eq!(shown.len(), 15);
    for text in shown {
        let canonical = text.parse::<Selector>().unwrap().to_string();
        assert!(canonical == text || matches!(text, "zone==a" | "all"), "{text}");
    }
    let err = "zone in prod".parse::<Selector>().unwrap_err();
    assert!(SELECTORS.contains(&err.to_string()), "{err}");
}

#[test]
fn waves_have_the_sizes_shown() {
    let rows = STRATEGY.lines().skip_while(|it| !it.starts_with("| `waves` | of 100")).skip(2);
    let rows: Vec<&str> = rows.take_while(|it| it.starts_with('|')).collect();
    assert_eq!(rows.len(), 4);
    for row in rows {
        let (waves, sizes) = row.trim_matches(['|', ' ']).split_once(" | ").unwrap();
        let waves: Waves = serde_json::from_str(waves.trim_matches('`')).unwrap();
        let sizes: Vec<u32> = sizes.split(", ").map(|it| it.parse().unwrap()).collect();
        assert_eq!(waves.sizes(100), sizes, "{row}");
    }
}

#[test]
fn windows_and_freezes_parse() {
    let windows = STRATEGY.split("```text\n").nth(1).and_then(|it| it.split("```").next()).unwrap();
    assert_eq!(windows.lines().count(), 4);
    for window in windows.lines() {
        let parsed: Window = window.parse().unwrap();
        assert_eq!(parsed.to_string(), window.replace("sat,sun", "sat-sun"));
    }
    for line in STRATEGY.lines() {
        if let Some(windows) = line.strip_prefix("windows = ") {
            assert_eq!(serde_json::from_str::<Vec<Window>>(windows).unwrap().len(), 1);
        }
        if let Some(freezes) = line.strip_prefix("freezes = ") {
            assert_eq!(serde_json::from_str::<Vec<Freeze>>(freezes).unwrap().len(), 1);
        }
    }
    assert_eq!(Schedule::default(), Schedule::new(Vec::new(), Vec::new()));
}
