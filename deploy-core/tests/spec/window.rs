use deploy_core::{
    spec::{Freeze, ParseWindowError, Schedule, Window},
    time::Timestamp,
};
use jiff::{civil::Weekday, tz::TimeZoneDatabase};
use proptest::prelude::*;
use std::time::Duration;

fn at(text: &str) -> Timestamp {
    let instant: jiff::Timestamp = text.parse().unwrap();
    Timestamp::from_millis(instant.as_millisecond().unsigned_abs())
}

fn schedule(windows: &[&str], freezes: &[&str]) -> Schedule {
    let windows = windows.iter().map(|it| it.parse().unwrap()).collect();
    let freezes = freezes.iter().map(|it| it.parse().unwrap()).collect();
    Schedule::new(windows, freezes)
}

/// When starts get allowed and when they cease to be, looked at every minute from `from` to `to`.
fn changes(schedule: &Schedule, from: &str, to: &str) -> Vec<(bool, String)> {
    let (mut now, to) = (at(from), at(to));
    let mut was = schedule.allows(now);
    let mut changes = vec![(was, now.to_string())];
    while now < to {
        if schedule.allows(now) != was {
            was = !was;
            changes.push((was, now.to_string()));
        }
        now = now.after(Duration::from_secs(60));
    }
    changes
}

#[track_caller]
fn assert_changes(windows: &[&str], freezes: &[&str], from: &str, to: &str, expected: &[&str]) {
    let found = changes(&schedule(windows, freezes), from, to);
    let shown: Vec<String> = found
        .iter()
        .skip(1)
        .map(|(open, at)| {
            format!("{}{}", if *open { "+" } else { "-" }, at.replace(":00.000Z", "Z"))
        })
        .collect();
    assert_eq!(shown, expected, "{windows:?} {freezes:?}");
}

#[test]
fn a_window_opens_and_closes_by_the_clocks_there() {
    assert_changes(
        &["mon-fri 09:00-17:00 Europe/Berlin"],
        &[],
        "2026-11-20T00:00:00Z",
        "2026-11-24T00:00:00Z",
        &["+2026-11-20T08:00Z", "-2026-11-20T16:00Z", "+2026-11-23T08:00Z", "-2026-11-23T16:00Z"],
    );
    assert_changes(
        &["daily 09:30-10:15 Asia/Kolkata"],
        &[],
        "2026-06-01T00:00:00Z",
        "2026-06-02T00:00:00Z",
        &["+2026-06-01T04:00Z", "-2026-06-01T04:45Z"],
    );
}

#[test]
fn a_window_may_cross_midnight() {
    assert_changes(
        &["fri 22:00-06:00 UTC"],
        &[],
        "2026-11-19T00:00:00Z",
        "2026-11-25T00:00:00Z",
        &["+2026-11-20T22:00Z", "-2026-11-21T06:00Z"],
    );
    assert_changes(
        &["sat,sun 00:00-24:00 UTC"],
        &[],
        "2026-11-19T00:00:00Z",
        "2026-11-25T00:00:00Z",
        &["+2026-11-21T00:00Z", "-2026-11-23T00:00Z"],
    );
}

#[test]
fn windows_add_up_and_freezes_take_away() {
    assert_changes(
        &["mon 09:00-12:00 UTC", "mon 11:00-14:00 UTC"],
        &["2026-11-23T10:00 .. 2026-11-23T10:30 UTC", "2026-11-23T10:15 .. 2026-11-23T10:45 UTC"],
        "2026-11-22T00:00:00Z",
        "2026-11-24T00:00:00Z",
        &["+2026-11-23T09:00Z", "-2026-11-23T10:00Z", "+2026-11-23T10:45Z", "-2026-11-23T14:00Z"],
    );
}

#[test]
fn clocks_that_leap_forward_open_what_they_leap_into() {
    for (zone, day, leap, next) in [
        ("Europe/Berlin", "2026-03-29", "01:00", "2026-04-05T00:15:00Z"),
        ("America/New_York", "2026-03-08", "07:00", "2026-03-15T06:15:00Z"),
    ] {
        let (from, to) = (format!("{day}T00:00:00Z"), format!("{day}T12:00:00Z"));
        let opens = format!("+{day}T{leap}Z");
        let closes = format!("-{day}T{}Z", if zone == "Europe/Berlin" { "02:00" } else { "08:00" });
        let window = format!("sun 02:30-04:00 {zone}");
        assert_changes(&[&window], &[], &from, &to, &[&opens, &closes]);
        let leapt_over = schedule(&[&format!("sun 02:15-02:45 {zone}")], &[]);
        assert_eq!(leapt_over.next_allowed(at(&from)), Some(at(next)), "{zone}");
    }
}

#[test]
fn what_clocks_show_twice_is_in_a_window_twice() {
    assert_changes(
        &["sun 02:15-02:45 Europe/Berlin"],
        &[],
        "2026-10-24T12:00:00Z",
        "2026-10-25T12:00:00Z",
        &["+2026-10-25T00:15Z", "-2026-10-25T00:45Z", "+2026-10-25T01:15Z", "-2026-10-25T01:45Z"],
    );
    assert_changes(
        &["sun 00:30-01:30 America/New_York"],
        &[],
        "2026-11-01T00:00:00Z",
        "2026-11-01T12:00:00Z",
        &["+2026-11-01T04:30Z", "-2026-11-01T05:30Z", "+2026-11-01T06:00Z", "-2026-11-01T06:30Z"],
    );
    let window = schedule(&["sun 00:30-01:30 America/New_York"], &[]);
    let between = at("2026-11-01T05:45:00Z");
    assert_eq!(window.next_allowed(between), Some(at("2026-11-01T06:00:00Z")));
}

#[test]
fn where_a_zone_never_sets_its_clocks_the_next_start_is_the_next_begin() {
    let window = schedule(&["wed 09:30-10:00 Asia/Kolkata"], &[]);
    let next = window.next_allowed(at("2026-03-29T01:00:00Z"));
    assert_eq!(next, Some(at("2026-04-01T04:00:00Z")));
}

#[test]
fn a_freeze_is_never_shorter_than_clocks_say() {
    assert_changes(
        &[],
        &["2026-10-25T02:30 .. 2026-10-25T02:40 Europe/Berlin"],
        "2026-10-24T12:00:00Z",
        "2026-10-25T12:00:00Z",
        &["-2026-10-25T00:30Z", "+2026-10-25T01:40Z"],
    );
    assert_changes(
        &[],
        &["2026-03-29T02:30 .. 2026-03-29T04:00 Europe/Berlin"],
        "2026-03-28T12:00:00Z",
        "2026-03-29T12:00:00Z",
        &["-2026-03-29T01:00Z", "+2026-03-29T02:00Z"],
    );
    assert_changes(
        &[],
        &["2026-03-28T02:30 .. 2026-03-29T02:30 Europe/Berlin"],
        "2026-03-28T00:00:00Z",
        "2026-03-29T12:00:00Z",
        &["-2026-03-28T01:30Z", "+2026-03-29T01:00Z"],
    );
}

#[test]
fn the_next_start_is_now_if_it_is_allowed() {
    let now = Timestamp::from_millis(1_795_424_400_123);
    assert_eq!(Schedule::default().next_allowed(now), Some(now));
    assert_eq!(schedule(&["daily 00:00-24:00 UTC"], &[]).next_allowed(now), Some(now));
}

#[test]
fn without_any_start_within_two_years_there_is_none() {
    let now = at("2026-11-22T04:05:06Z");
    let frozen = schedule(&["sun 10:00-11:00 UTC"], &["2020-01-01T00:00 .. 2031-01-01T00:00 UTC"]);
    assert_eq!(frozen.next_allowed(now), None);
    assert_eq!(frozen.explain(now), "no start is allowed within two years");
    let later = at("2029-06-01T00:00:00Z");
    assert_eq!(frozen.next_allowed(later), Some(at("2031-01-05T10:00:00Z")));
}

#[test]
fn the_end_of_time_is_no_trouble() {
    let far = Timestamp::from_millis(u64::MAX);
    let window = schedule(&["daily 00:00-24:00 UTC"], &[]);
    assert!(!window.allows(far));
    assert_eq!(window.next_allowed(far), None);
    assert_eq!(Schedule::default().next_allowed(far), Some(far));
    let last = at("9999-12-30T20:00:00Z");
    assert_eq!(schedule(&["mon 09:00-10:00 Europe/Berlin"], &[]).next_allowed(last), None);
}

#[test]
fn it_can_be_explained() {
    let sunday = at("2026-11-22T04:05:06Z");
    let cases: [(&[&str], &[&str], &str); 4] = [
        (&[], &[], "starts are allowed"),
        (
            &["mon-fri 09:00-17:00 Europe/Berlin"],
            &[],
            "window opens Mon 2026-11-23 09:00 Europe/Berlin",
        ),
        (
            &[],
            &["2026-11-01T00:00 .. 2026-12-01T00:00 America/New_York"],
            "freeze ends Tue 2026-12-01 00:00 America/New_York",
        ),
        (
            &["mon 09:00-17:00 Asia/Kolkata"],
            &["2026-11-01T00:00 .. 2026-12-01T00:00 UTC"],
            "window opens Mon 2026-12-07 09:00 Asia/Kolkata",
        ),
    ];
    for (windows, freezes, text) in cases {
        assert_eq!(schedule(windows, freezes).explain(sunday), text);
    }
}

#[test]
fn windows_are_shown_as_they_are_best_written() {
    let cases = [
        ("Mon-Fri 09:00-17:00 europe/berlin", "mon-fri 09:00-17:00 Europe/Berlin"),
        ("mon,tue,wed,fri 00:00-24:00 UTC", "mon-wed,fri 00:00-24:00 UTC"),
        ("fri-mon 22:00-06:00 utc", "mon,fri-sun 22:00-06:00 UTC"),
        ("mon-sun 22:00-06:00 UTC", "daily 22:00-06:00 UTC"),
        ("tue-mon   22:00-06:00\tUTC", "daily 22:00-06:00 UTC"),
        ("wed-wed 22:00-06:00 UTC", "wed 22:00-06:00 UTC"),
    ];
    for (text, shown) in cases {
        assert_eq!(text.parse::<Window>().unwrap().to_string(), shown);
    }
    let freeze = "2026-12-20T00:00 .. 2027-01-02T00:00 Europe/Berlin";
    assert_eq!(freeze.parse::<Freeze>().unwrap().to_string(), freeze);
    let json = format!(r#"{{"windows":["daily 22:00-06:00 UTC"],"freezes":["{freeze}"]}}"#);
    let parsed: Schedule = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed, schedule(&["daily 22:00-06:00 UTC"], &[freeze]));
    assert_eq!(serde_json::to_string(&parsed).unwrap(), json);
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let windows = [
        ("", "must be like `mon-fri"),
        ("mon-fri 09:00-17:00", "must be like `mon-fri"),
        ("09:00-17:00 UTC", "must be like `mon-fri"),
        ("mon-xxx 09:00-17:00 UTC", "its days must be"),
        ("mon, 09:00-17:00 UTC", "its days must be"),
        ("daily,mon 09:00-17:00 UTC", "its days must be"),
        ("mon 9:00-17:00 UTC", "its times must be"),
        ("mon 09:60-17:00 UTC", "its times must be"),
        ("mon 09:00-24:01 UTC", "its times must be"),
        ("mon 24:00-17:00 UTC", "its times must be"),
        ("mon +9:00-17:00 UTC", "its times must be"),
        ("mon 09:00 UTC", "its times must be"),
        ("mon 09:00-09:00 UTC", "a whole day is `00:00-24:00`"),
        ("mon 09:00-17:00 Europe/Berln", "not a time zone"),
        ("mon 09:00-17:00 Etc/Unknown", "not a time zone"),
        ("mon 09:00-17:00 +02:00", "not a time zone"),
        ("mon 09:00-17:00 /etc/passwd", "not a time zone"),
    ];
    for (text, reason) in windows {
        let err: ParseWindowError = text.parse::<Window>().unwrap_err();
        assert!(err.to_string().contains(reason), "{text}: {err}");
    }
    let freezes = [
        ("2026-12-20T00:00 .. 2027-01-02T00:00", "must be like"),
        ("2026-12-20T00:00 - 2027-01-02T00:00 UTC", "must be like"),
        ("2026-12-20 .. 2027-01-02T00:00 UTC", "its begin and its end must be like"),
        ("2026-12-20T00:00Z .. 2027-01-02T00:00 UTC", "its begin and its end must be like"),
        ("2026-02-30T00:00 .. 2027-01-02T00:00 UTC", "its begin and its end must be like"),
        ("2027-12-20T00:00 .. 2027-01-02T00:00 UTC", "it ends before it begins"),
        ("2027-01-02T00:00 .. 2027-01-02T00:00 UTC", "it ends before it begins"),
        ("2027-01-02T00:00 .. 9999-12-31T23:59 America/New_York", "too far away"),
        ("2027-01-02T00:00 .. 2028-01-02T00:00 Mars/Phobos", "not a time zone"),
    ];
    for (text, reason) in freezes {
        let err = text.parse::<Freeze>().unwrap_err();
        assert!(err.to_string().contains(reason), "{text}: {err}");
    }
}

const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
    "Pacific/Apia",
];

#[derive(Clone, Debug)]
struct Sample {
    days: u8,
    opens: u16,
    closes: u16,
    zone: &'static str,
}

impl Sample {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    fn text(&self) -> String {
        let days: Vec<&str> =
            (0..7).filter(|day| self.days & (1 << day) != 0).map(|day| Self::DAYS[day]).collect();
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        format!("{} {}-{} {}", days.join(","), clock(self.opens), clock(self.closes), self.zone)
    }

    /// Whether it is open, told from the minutes of the week that clocks there show.
    fn is_open(&self, now: Timestamp) -> bool {
        let now = jiff::Timestamp::from_millisecond(now.as_millis().cast_signed()).unwrap();
        let shown = TimeZoneDatabase::bundled().get(self.zone).unwrap().to_datetime(now);
        let minute_of_week = |day: u32, minute: u32| day * 1_440 + minute;
        let day = u32::try_from(shown.weekday().since(Weekday::Monday)).unwrap();
        let minute =
            u32::try_from(i32::from(shown.hour()) * 60 + i32::from(shown.minute())).unwrap();
        let week = 7 * 1_440;
        let length = (u32::from(self.closes) + 1_440 - u32::from(self.opens)) % 1_440;
        let length = if length == 0 { 1_440 } else { length };
        (0..7).filter(|day| self.days & (1 << day) != 0).any(|from| {
            let opened = minute_of_week(from, self.opens.into());
            (minute_of_week(day, minute) + week - opened) % week < length
        })
    }
}

fn samples() -> impl Strategy<Value = Sample> {
    // Around the hours at which clocks are set, more often than not.
    let minute = prop_oneof![0_u16..1_440, 0_u16..240];
    (1_u8..128, minute.clone(), minute, prop::sample::select(&ZONES))
        .prop_filter("opens when it closes", |(_, opens, closes, _)| opens != closes)
        .prop_map(|(days, opens, closes, zone)| Sample { days, opens, closes, zone })
}

/// Around the days of 2026 on which clocks are set somewhere, more often than not.
fn instants() -> impl Strategy<Value = Timestamp> {
    const SET: [&str; 6] =
        ["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"];
    let year = (at("2026-01-01T00:00:00Z").as_millis()..at("2027-01-01T00:00:00Z").as_millis())
        .prop_map(Timestamp::from_millis);
    let near = (prop::sample::select(&SET), 0_u64..48 * 60).prop_map(|(day, minutes)| {
        let noon_before = at(&format!("{day}T12:00:00Z")).as_millis() - 24 * 3_600_000;
        Timestamp::from_millis(noon_before + minutes * 60_000)
    });
    prop_oneof![year, near]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_window_is_open_when_clocks_show_a_time_in_it(window in samples(), now in instants()) {
        let schedule = schedule(&[&window.text()], &[]);
        for minutes in 0..180 {
            let now = now.after(Duration::from_secs(minutes * 60));
            prop_assert_eq!(schedule.allows(now), window.is_open(now), "at {}", now);
        }
    }

    #[test]
    fn the_next_start_is_allowed_and_none_is_earlier(
        windows in prop::collection::vec(samples(), 0..3),
        now in instants(),
        frozen in prop::collection::vec((instants(), 1_u64..2_000, prop::sample::select(&ZONES)), 0..3),
    ) {
        let windows: Vec<String> = windows.iter().map(Sample::text).collect();
        let minutes = |at: Timestamp| at.to_string()[..16].to_owned();
        let freezes: Vec<String> = frozen
            .into_iter()
            .map(|(from, length, zone)| {
                let to = from.after(Duration::from_secs(length * 60 + 7_200));
                format!("{} .. {} {zone}", minutes(from), minutes(to))
            })
            .collect();
        let windows: Vec<&str> = windows.iter().map(String::as_str).collect();
        let freezes: Vec<&str> = freezes.iter().map(String::as_str).collect();
        let schedule = schedule(&windows, &freezes);
        let next = schedule.next_allowed(now).unwrap();
        prop_assert!(next >= now && schedule.allows(next));
        let minute = 60_000;
        let mut earlier = now;
        while earlier < next {
            prop_assert!(!schedule.allows(earlier), "{} is before {}", earlier, next);
            let whole = (earlier.as_millis() / minute + 1) * minute;
            earlier = Timestamp::from_millis(whole);
        }
        prop_assert!(next == now || !schedule.allows(Timestamp::from_millis(next.as_millis() - 1)));
    }

    #[test]
    fn text_round_trips(window in samples()) {
        let parsed: Window = window.text().parse().unwrap();
        prop_assert_eq!(parsed.to_string().parse(), Ok(parsed));
    }

    #[test]
    fn no_text_panics(text in "(?s).{0,60}", plausible in "[a-z,-]{1,8} [0-9:-]{1,12} (UTC|Asia/Kolkata)", freeze in "[0-9T:-]{16} \\.\\. [0-9T:-]{16} UTC") {
        for text in [text, plausible] {
            if let Ok(window) = text.parse::<Window>() {
                prop_assert_eq!(window.to_string().parse(), Ok(window));
            }
        }
        if let Ok(freeze) = freeze.parse::<Freeze>() {
            prop_assert_eq!(freeze.to_string().parse(), Ok(freeze));
        }
    }
}
