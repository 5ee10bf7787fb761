use super::*;
use proptest::prelude::*;
use prost::Message as _;

fn order() -> v1::Attempt {
    let place = v1::Place {
        service: "web".to_owned(),
        deploy_path: "/srv/web".to_owned(),
        account: "web".to_owned(),
    };
    let step = v1::Step { name: "install".to_owned(), timeout_s: 5, ..v1::Step::default() };
    v1::Attempt {
        place: Some(place),
        generation: 7,
        token: "0".repeat(32),
        release: "web-1".to_owned(),
        direction: "forward".to_owned(),
        steps: vec![step],
        environment: [("P_SECRET".to_owned(), "hunter2222".to_owned())].into(),
        descriptor: Some(v1::Artifact { digest: vec![1; 32], size: 9 }),
        masked: vec!["hunter2222".to_owned()],
        ..v1::Attempt::default()
    }
}

#[test]
fn what_came_is_read() {
    let spec = Spec::parse(order()).unwrap();
    assert_eq!(spec.key.to_string(), "web/7");
    assert_eq!(spec.steps[0].path(), "steps/install.sh");
    assert_eq!(spec.mark("0"), format!("{}.0", "0".repeat(32)));
}

#[test]
fn parameters_are_not_shown() {
    let spec = Spec::parse(order()).unwrap();
    assert!(!format!("{spec:?}").contains("hunter"), "{spec:?}");
}

#[test]
fn a_step_without_a_default_needs_a_script() {
    let mut order = order();
    order.steps[0].name = "drain".to_owned();
    let refused = Spec::parse(order).unwrap_err();
    assert_eq!(refused.to_string(), "the step `drain` has no default script");
}

#[test]
fn a_way_back_is_that_of_its_attempt() {
    let with = |change: fn(&mut v1::Attempt, &mut v1::Revert)| {
        let mut order = order();
        let back = v1::Attempt { direction: "back".to_owned(), ..order.clone() };
        let mut revert = v1::Revert { after_ms: 1, back: Some(Box::new(back)) };
        change(&mut order, &mut revert);
        order.revert = Some(Box::new(revert));
        Spec::parse(order)
    };
    assert!(with(|_, _| {}).unwrap().revert.is_some());
    let wrong: [fn(&mut v1::Attempt, &mut v1::Revert); 7] = [
        |order, _| order.generation += 1,
        |order, _| order.token = "1".repeat(32),
        |order, _| order.masked.clear(),
        |order, _| order.direction = "back".to_owned(),
        |_, revert| revert.after_ms = 0,
        |_, revert| revert.back = None,
        |_, revert| {
            let nested = revert.clone();
            revert.back.as_mut().unwrap().revert = Some(Box::new(nested));
        },
    ];
    for (at, change) in wrong.into_iter().enumerate() {
        assert!(with(change).is_err(), "{at}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_an_order_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(order) = v1::Attempt::decode(&*bytes) {
            prop_assert!(Spec::parse(order).is_err());
        }
    }

    /// Whatever stands for a script, what is run lies in the attempt's own folder.
    #[test]
    fn scripts_stay_in_the_descriptor(script in "[a./]{1,12}") {
        let mut order = order();
        order.steps[0].script = script.clone();
        match Spec::parse(order) {
            Ok(spec) => {
                let path = spec.steps[0].path();
                prop_assert!(path.starts_with("descriptor/") && !path.contains("//"), "{}", path);
                prop_assert!(path.split('/').all(|it| it != ".." && it != "."), "{}", path);
            }
            Err(_) => prop_assert!(script.split('/').any(|it| matches!(it, "" | "." | ".."))),
        }
    }

    /// Nothing that could make a program do something else gets into the environment of a step.
    #[test]
    fn only_parameters_are_taken(name in "[PDL]?_?[A-Z_=a.]{0,6}") {
        let mut order = order();
        order.environment.insert(name.clone(), String::new());
        let good = (name.starts_with("P_") || name.starts_with("D_"))
            && name.len() > 2
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        prop_assert_eq!(Spec::parse(order).is_ok(), good);
    }
}
