//! evictd's configuration in a case: what is in force, and what a reload makes of it.

use super::case::Case;
use super::fates::Reload;
use super::lane::Lane;
use super::topology::{Place, Queue};
use crate::support::{EVICTD_PASSWORD, EvictdOptions};

/// Where the paths of rules go, by the distributions' names.
const TARGETS: [&[&str]; 3] = [&["main", "shop"], &["main"], &["shop"]];

#[derive(Clone, Debug)]
pub struct Config {
    /// The distributions' names and ids.
    distributions: Vec<(&'static str, String)>,
    /// Which of [`TARGETS`] the first rule has; the others have the next ones.
    targets: usize,
    /// How often rules got other names and another order.
    rules: usize,
}

impl Config {
    pub fn of(case: &Case) -> Self {
        let mut distributions = vec![("main", "E1".to_owned())];
        if case.topology.second {
            distributions.push(("shop", "E2".to_owned()));
        }
        Self {
            distributions,
            targets: 0,
            rules: 0,
        }
    }

    pub fn reloaded(&self, reload: Reload) -> Self {
        let mut config = self.clone();
        match reload {
            Reload::Rules => config.rules += 1,
            Reload::Targets => config.targets += 1,
            Reload::Id => {
                let id = &mut config.distributions[0].1;
                let number: u32 = id[1..].parse().expect("a number");
                // Of the other one the numbers are even.
                *id = format!("E{}", number + 2);
            }
        }
        config
    }

    pub fn ids(&self) -> Vec<String> {
        let ids = self.distributions.iter();
        ids.map(|(_, id)| id.clone()).collect()
    }

    fn names_of_rule(&self, number: usize) -> Vec<&'static str> {
        if self.distributions.len() == 1 {
            return vec!["main"];
        }
        TARGETS[(self.targets + number) % TARGETS.len()].to_vec()
    }

    pub fn ids_of_rule(&self, number: usize) -> Vec<String> {
        let names = self.names_of_rule(number);
        let named = self.distributions.iter();
        let named = named.filter(|(name, _)| names.contains(name));
        named.map(|(_, id)| id.clone()).collect()
    }

    /// What the distribution is now that had this id before.
    pub fn id_now(&self, before: &Self, id: &str) -> String {
        let mut pairs = before.distributions.iter().zip(&self.distributions);
        let found = pairs.find(|((_, then), _)| then == id);
        found.map_or_else(|| id.to_owned(), |(_, (_, now))| now.clone())
    }

    fn rules_toml(&self, case: &Case) -> String {
        let rules = case.rules.iter().enumerate().map(|(number, rule)| {
            let again = if self.rules > 0 {
                format!(" once more {}", self.rules)
            } else {
                String::new()
            };
            let mut head = format!("name = '{}{again}'\n", rule.name);
            if rule.has_paths() {
                head += &format!("distributions = {:?}\n", self.names_of_rule(number));
            }
            let name = format!("name = '{}'\n", rule.name);
            rule.toml(&case.schema.database).replacen(&name, &head, 1)
        });
        let mut rules: Vec<String> = rules.collect();
        if self.rules % 2 == 1 {
            rules.reverse();
        }
        rules.concat()
    }

    /// `ports` are those that evictd finds Redis and MySQL at; `queue` is where SQS is, and the queue's URL.
    pub fn options(&self, lane: &Lane, case: &Case, edge: Option<&EdgeAt>) -> EvictdOptions {
        let checkpoint = match case.topology.checkpoint {
            Place::File => format!("path = \"{}\"", lane.checkpoint_file().display()),
            Place::Redis => "store = \"redis\"".to_owned(),
        };
        let mut config = format!(
            "name = \"{}\"\n[source]\nurl = \"mysql://evictd@127.0.0.1:{}\"\npassword = {{ env = \"EVICTD_SOURCE_PASSWORD\" }}\n\
             [checkpoint]\n{checkpoint}\n[redis]\nurl = \"redis://127.0.0.1:{}\"\nsettle_after = \"{}\"\n[ledger]\ndir = \"{}\"\n",
            lane.name(),
            lane.relay.port(),
            lane.redis_relay.port(),
            lane.settle_after(),
            lane.state_dir().display(),
        );
        let mut marks =
            "\n[[rule]]\nname = 'marks'\ntables = ['marks.marks']\nkeys = ['mark:{id}']\n"
                .to_owned();
        if let Some(edge) = edge {
            let buffer = match &case.topology.queue {
                Queue::Local => {
                    let file = lane.queue_file();
                    format!("kind = \"local\"\npath = \"{}\"", file.display())
                }
                Queue::Sqs => format!("kind = \"sqs\"\nqueue_url = \"{}\"", edge.queue_url),
            };
            config += &format!(
                "[buffer]\n{buffer}\n[cloudfront]\nwindow = \"20ms\"\ncalls_per_second = 100\n"
            );
            for (name, id) in &self.distributions {
                config +=
                    &format!("[[cloudfront.distribution]]\nname = \"{name}\"\nid = \"{id}\"\n");
            }
            marks += "paths = ['/mark/{id}']\n";
        }
        config += &self.rules_toml(case);
        config += &marks;
        let built = || env!("CARGO_BIN_EXE_evictd").to_owned();
        let binary = std::env::var("ORACLE_BINARY").unwrap_or_else(|_| built());
        let mut options =
            EvictdOptions::run(binary, config).env("EVICTD_SOURCE_PASSWORD", EVICTD_PASSWORD);
        if let Some(edge) = edge {
            for (name, value) in [
                ("AWS_ENDPOINT_URL_CLOUDFRONT", edge.cloudfront_url.as_str()),
                ("AWS_ENDPOINT_URL_SQS", edge.sqs_url.as_str()),
                ("AWS_REGION", "eu-west-1"),
                ("AWS_ACCESS_KEY_ID", "test"),
                ("AWS_SECRET_ACCESS_KEY", "test"),
                ("AWS_EC2_METADATA_DISABLED", "true"),
                ("AWS_CONFIG_FILE", "/dev/null"),
                ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ] {
                options = options.env(name, value);
            }
        }
        options
    }
}

/// Where evictd finds CloudFront and the queue.
#[derive(Clone, Debug)]
pub struct EdgeAt {
    pub cloudfront_url: String,
    pub sqs_url: String,
    pub queue_url: String,
}
