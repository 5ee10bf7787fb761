use super::{Human, Source, build::BuildFile, strategy::StrategyFile};
use deploy_core::{
    id::{AccountName, Principal, ServiceName},
    spec::{AbsolutePath, OnDrift, Repair, Selector, Service},
};
use deploy_wire::Problem;
use serde::Deserialize;
use std::num::NonZeroU32;
use toml::Spanned;

/// `service.toml`, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceFile {
    name: ServiceName,
    owner: Principal,
    deploy_path: AbsolutePath,
    account: Option<AccountName>,
    selector: Selector,
    count: Option<NonZeroU32>,
    #[serde(default)]
    strategy: StrategyFile,
    #[serde(default)]
    repair: RepairFile,
    build: Option<BuildFile>,
}

/// The `[repair]` table, as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RepairFile {
    debt: Option<Spanned<Human>>,
    drift: Option<OnDrift>,
}

impl RepairFile {
    fn check(self, source: &Source) -> Result<Repair, Problem> {
        let mut repair = Repair::default().with_drift(self.drift.unwrap_or_default());
        if let Some(debt) = self.debt {
            if debt.get_ref().0.is_zero() {
                let at = source.position_of(debt.span().start);
                let message = "`debt` must be longer than 0; without it, debt is left to people";
                return Err(source.problem(Some(at), message));
            }
            repair.debt = Some(debt.get_ref().0);
        }
        Ok(repair)
    }
}

/// Reads a `service.toml`. `docs/files.md` describes it.
pub(crate) fn parse_service(source: &Source) -> Result<Service, Problem> {
    let file: ServiceFile = source.toml()?;
    let strategy = file.strategy.check(source)?;
    let repair = file.repair.check(source)?;
    let mut service = Service::new(file.name, file.owner, file.deploy_path, file.selector);
    service.account = file.account;
    service.count = file.count;
    service.build = file.build.map(|it| it.check(source)).transpose()?;
    Ok(service.with_strategy(strategy).with_repair(repair))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::spec::{Confirm, Limit, OnFailure, Order, Strategy};
    use proptest::prelude::*;
    use std::time::Duration;

    const FULL: &str = r#"
name = "web"
owner = "team-web"
deploy_path = "/srv/web"
account = "web"
selector = "role=web"
count = 3

[strategy]
waves = ["2", "10%", "*2"]
max_parallel = 20
staging = { max_parallel = 50 }
confirm = "after_first"
bake_time = "5m"
min_healthy_time = "3s"
healthy_deadline = "1m"
check_interval = "2s"
confirm_timeout = "90s"
progress_deadline = "15m"
on_failure = "rollback"
retries = 2
retry_backoff = "1s"
retry_max_backoff = "10s"
order = { spread = ["zone", "rack"] }
stagger = { fixed = "1s", random = "500ms" }
windows = ["mon-fri 09:00-17:00 Europe/Berlin"]

[strategy.failure_budget]
max_failed = "5%"
max_unreachable = 3
max_consecutive = 4
wave = { max_failed = "50%" }

[repair]
debt = "7d"
drift = "repair"

[build]
remote = "https://git.example.com/team/web.git"
credential = "git"
commands = ["make", "make check"]
environment = { CC = "clang" }
secrets = { TOKEN = "npm" }
outputs = { "bin/web" = "out/web", "assets" = "assets" }
descriptor = "deploy"
archive = "tar.zst"
network = true
time_limit = "10m"
memory_limit_mib = 2048
process_limit = 100
log_limit_kib = 512
"#;

    fn read(text: &str) -> Result<Service, Problem> {
        parse_service(&Source::new("service.toml", text))
    }

    fn minimal(more: &str) -> String {
        format!(
            "name = \"web\"\nowner = \"ann\"\ndeploy_path = \"/srv/web\"\nselector = \"role=web\"\n{more}"
        )
    }

    #[test]
    fn every_field_is_read() {
        let service = read(FULL).unwrap();
        let strategy = &service.strategy;
        assert_eq!(service.count.unwrap().get(), 3);
        assert_eq!(strategy.max_parallel.unwrap().get(), 20);
        assert_eq!(strategy.staging.unwrap().max_parallel.get(), 50);
        assert_eq!(strategy.confirm, Confirm::AfterFirst);
        assert_eq!(strategy.on_failure, OnFailure::Rollback);
        assert_eq!(strategy.bake_time, Duration::from_secs(300));
        assert_eq!(strategy.health.min_healthy_time, Duration::from_secs(3));
        assert_eq!(strategy.health.check_interval, Duration::from_secs(2));
        assert_eq!(strategy.health.confirm_timeout, Some(Duration::from_secs(90)));
        assert_eq!(strategy.retries.retries, 2);
        assert_eq!(strategy.retries.max_backoff, Duration::from_secs(10));
        assert_eq!(strategy.failure_budget.rollout.max_failed, Limit::Percent(5));
        assert_eq!(strategy.failure_budget.rollout.max_unreachable, Limit::Count(3));
        assert_eq!(strategy.failure_budget.wave.unwrap().max_failed, Limit::Percent(50));
        assert!(matches!(&strategy.order, Order::Spread(labels) if labels.len() == 2));
        assert_eq!(strategy.stagger.random, Duration::from_millis(500));
        assert_eq!(strategy.schedule.windows.len(), 1);
        let week = Duration::from_secs(7 * 86_400);
        assert_eq!(service.repair, Repair::default().with_debt(week).with_drift(OnDrift::Repair));
        let build = service.build.unwrap();
        assert_eq!(build.source.credential.unwrap().as_str(), "git");
        let recipe = build.recipe;
        assert_eq!((recipe.commands.len(), recipe.outputs.len(), recipe.network), (2, 2, true));
        assert_eq!(recipe.environment.len() + recipe.secrets.len(), 2);
        assert_eq!(
            (recipe.descriptor.unwrap().as_str(), recipe.archive.as_str()),
            ("deploy", "tar.zst")
        );
        let limits = recipe.limits;
        assert_eq!((limits.time.as_secs(), limits.memory.unwrap().get()), (600, 2 << 30));
        assert_eq!((limits.processes.get(), limits.log.get()), (100, 512 << 10));
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        let service = read(&minimal("")).unwrap();
        assert_eq!((service.strategy, service.repair), (Strategy::new(), Repair::default()));
    }

    #[test]
    fn every_complaint_names_line_and_column() {
        for (text, wanted) in [
            (minimal("colour = \"red\""), "service.toml:5:1: unknown field `colour`"),
            (minimal("count = 0"), "service.toml:5:9: invalid value: integer `0`"),
            (minimal("count = -1"), "service.toml:5:9: "),
            (minimal("[strategy]\nwaves = [\"x\"]"), "service.toml:6:10: "),
            (minimal("[strategy]\nwaves = \"2\""), "service.toml:6:9: "),
            (minimal("[strategy]\nbake_time = 5"), "service.toml:6:13: "),
            (minimal("[strategy]\nbake_time = \"5 parsecs\""), "service.toml:6:13: `5 parsecs` is"),
            (
                minimal("[strategy]\nconfirm = \"maybe\""),
                "service.toml:6:11: unknown value `maybe`",
            ),
            (minimal("[strategy]\norder = { spread = [] }"), "service.toml:6:9: "),
            (
                minimal("[strategy.failure_budget]\nmax_failed = \"101%\""),
                "service.toml:6:14: `101%`",
            ),
            (minimal("[strategy.failure_budget]\nmax_failed = -1"), "service.toml:6:14: "),
            (
                minimal("[strategy.failure_budget]\nwave = { x = 1 }"),
                "service.toml:6:10: unknown field `x`",
            ),
            (minimal("[strategy]\nmin_healthy_time = \"10m\""), "service.toml:6:20: "),
            (minimal("[strategy]\nretry_backoff = \"10m\""), "service.toml:6:17: "),
            ("name = \"Web\"".to_owned(), "service.toml:1:8: `Web` is not a valid service name"),
            ("name = \"web".to_owned(), "service.toml:1:12: "),
            ("name = \"web\"\n".to_owned(), "service.toml:1:1: missing field `owner`"),
            (
                minimal("").replace("/srv/web", "srv"),
                "service.toml:3:15: `srv` is not a usable path",
            ),
            (minimal("[repair]\ndebt = \"0s\""), "service.toml:6:8: `debt` must be longer than 0"),
            (minimal("[repair]\ndebt = 7"), "service.toml:6:8: "),
            (minimal("[repair]\ndrift = \"forget\""), "service.toml:6:9: unknown value `forget`"),
            (minimal("[repair]\nage = \"7d\""), "service.toml:6:1: unknown field `age`"),
            (
                minimal("[build]\nremote = \"http://x/y\"\noutputs = { a = \"a\" }"),
                "service.toml:6:10: `http://x/y` is not a usable git remote",
            ),
            (
                minimal("[build]\nremote = \"git@x.example.com:y\"\noutputs = {}"),
                "service.toml:7:11: `build`: it has no outputs",
            ),
            (
                minimal("[build]\nremote = \"git@x.example.com:y\"\noutputs = { a = \"../a\" }"),
                "service.toml:7:17: `../a` is not a usable path below the source",
            ),
            (
                minimal("[build]\nremote = \"git@x.example.com:y\""),
                "service.toml:5:1: missing field `outputs`",
            ),
            (minimal("name = \"again\""), "service.toml:5:1: duplicate key"),
        ] {
            let message = read(&text).unwrap_err().message;
            assert!(message.starts_with(wanted), "{message}\n  wanted: {wanted}");
            assert!(!message.contains('\n'), "{message}");
        }
    }

    /// The TOML in a document.
    fn examples(document: &str) -> Vec<String> {
        let blocks = document.split("```toml\n").skip(1);
        blocks.filter_map(|it| it.split("```").next()).map(ToOwned::to_owned).collect()
    }

    #[test]
    fn what_the_documents_show_can_be_read() {
        let files = examples(include_str!("../../../../docs/files.md"));
        read(&files[0]).unwrap();
        let format = crate::files::hosts::HostsFormat::Toml;
        let hosts = Source::new("hosts.toml", files[1].as_str());
        assert_eq!(crate::files::hosts::parse_hosts(&hosts, format).unwrap().hosts.len(), 2);
        read(&examples(include_str!("../../../../docs/building.md"))[0]).unwrap();
        for strategy in examples(include_str!("../../../../docs/strategy.md")) {
            let table = if strategy.contains("[strategy") { "" } else { "[strategy]\n" };
            read(&minimal(&format!("{table}{strategy}"))).unwrap();
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,80}", at in 0_usize..FULL.len()) {
            drop(read(&text));
            let mut mixed = FULL.to_owned();
            if mixed.is_char_boundary(at) {
                mixed.insert_str(at, &text);
            }
            drop(read(&mixed));
        }
    }
}
