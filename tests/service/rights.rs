//! The definitions for ECS and IAM: the permissions are exactly the calls that evictd makes, and AWS's own model of its
//! API knows every field.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{repository, succeeds};
use crate::support::servers;

fn json(file: &str) -> Value {
    let text = fs::read_to_string(repository().join("ecs").join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn sources(directory: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else {
            out.push(path);
        }
    }
}

/// The operations that `source` calls on a client of the SDK, such as SendMessageBatch for `send_message_batch`. They
/// are methods without arguments, at the beginning of a chain.
fn operations(source: &str) -> BTreeSet<String> {
    const VERBS: [&str; 9] = [
        "change", "create", "delete", "describe", "get", "list", "receive", "send", "update",
    ];
    let joined: String = source.split_whitespace().collect();
    let mut out = BTreeSet::new();
    for client in ["client.", "once."] {
        for (at, _) in joined.match_indices(client) {
            let rest = &joined[at + client.len()..];
            let Some((name, _)) = rest.split_once("()") else {
                continue;
            };
            let (verb, _) = name.split_once('_').unwrap_or_default();
            if VERBS.contains(&verb) && name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
                let words = name.split('_');
                out.insert(
                    words
                        .map(|word| word[..1].to_uppercase() + &word[1..])
                        .collect(),
                );
            }
        }
    }
    out
}

/// The permission that an operation takes. A call for several messages takes the one for a single message.
fn right(service: &str, operation: &str) -> String {
    format!("{service}:{}", operation.trim_end_matches("Batch"))
}

#[test]
fn calls_are_found_however_they_are_broken_into_lines() {
    let source = "self\n    .client\n    .send_message_batch()\n .send(); self.once.list_invalidations(); \
        client.get(); self.client.extend(&x); let client = Client::new(x);";
    let found: Vec<String> = operations(source).into_iter().collect();
    assert_eq!(found, ["ListInvalidations", "SendMessageBatch"]);
    let source = "self.once\n.list_invalidations()\n.distribution_id(id)";
    assert_eq!(operations(source).len(), 1);
    assert_eq!(right("sqs", "SendMessageBatch"), "sqs:SendMessage");
}

/// The actions that a policy allows, by statement.
fn actions(file: &str) -> BTreeMap<String, BTreeSet<String>> {
    let policy = json(file);
    assert_eq!(policy["Version"], "2012-10-17");
    let statements = policy["Statement"].as_array().unwrap().iter();
    statements
        .map(|statement| {
            assert_eq!(statement["Effect"], "Allow");
            let actions = statement["Action"].as_array().unwrap().iter();
            let actions = actions.map(|action| action.as_str().unwrap().to_owned());
            (
                statement["Sid"].as_str().unwrap().to_owned(),
                actions.collect(),
            )
        })
        .collect()
}

#[test]
fn the_tasks_may_call_what_evictd_calls_and_no_more() {
    let mut called = BTreeSet::new();
    for (service, directory) in [("sqs", "src/buffer"), ("cloudfront", "src/edge")] {
        let mut files = Vec::new();
        sources(&repository().join(directory), &mut files);
        for file in files {
            let found = operations(&fs::read_to_string(file).unwrap());
            called.extend(found.iter().map(|operation| right(service, operation)));
        }
    }
    assert!(called.len() >= 10, "{called:?}");
    let granted = actions("iam-policy.json");
    // These are not calls of an SDK: evictd signs the tokens itself.
    let granted: BTreeSet<String> = granted
        .into_iter()
        .filter(|(statement, _)| statement != "LoginWithoutPasswords")
        .flat_map(|(_, actions)| actions)
        .collect();
    assert_eq!(granted, called);
}

#[test]
fn no_permission_is_for_all_resources_unless_it_has_to_be() {
    for file in ["iam-policy.json", "iam-execution-policy.json"] {
        for statement in json(file)["Statement"].as_array().unwrap() {
            let everything = statement["Resource"]
                .as_array()
                .unwrap()
                .iter()
                .any(|resource| resource == "*");
            let sid = statement["Sid"].as_str().unwrap();
            let has_to = ["PoliciesInCheck", "ImageLogin"].contains(&sid);
            assert_eq!(everything, has_to, "{file}: {sid}");
        }
        for action in actions(file).into_values().flatten() {
            assert!(!action.contains('*'), "{file}: {action}");
        }
    }
}

const DEFINITIONS: [&str; 2] = ["task-definition.json", "task-definition-drain.json"];

/// Checks the parameters of a call against the model that AWS publishes, as its command line does before it sends.
fn valid(operation: &str, parameters: &Value) -> Result<(), String> {
    const SCRIPT: &str = "import json, sys, botocore.session, botocore.validate\n\
        model = botocore.session.get_session().get_service_model('ecs').operation_model(sys.argv[1])\n\
        report = botocore.validate.ParamValidator().validate(json.loads(sys.argv[2]), model.input_shape)\n\
        print(report.generate_report())";
    let python = servers().ministack.parent().unwrap().join("python");
    let mut command = Command::new(python);
    let command = command.args(["-c", SCRIPT, operation, &parameters.to_string()]);
    match succeeds(command).trim() {
        "" => Ok(()),
        report => Err(report.to_owned()),
    }
}

#[test]
fn the_task_definitions_are_valid() {
    for file in DEFINITIONS {
        let definition = json(file);
        valid("RegisterTaskDefinition", &definition)
            .unwrap_or_else(|report| panic!("{file}: {report}"));
        let mut wrong = definition.clone();
        wrong["containerDefinitions"][0]["readOnlyRootFilesystem"] = true.into();
        let report = valid("RegisterTaskDefinition", &wrong).unwrap_err();
        assert!(report.contains("readOnlyRootFilesystem"), "{report}");
    }
}

#[test]
fn a_task_is_closed_watched_and_given_time_to_end() {
    for file in DEFINITIONS {
        let definition = json(file);
        let container = &definition["containerDefinitions"][0];
        assert_eq!(container["readonlyRootFilesystem"], true, "{file}");
        assert_eq!(container["user"], "65532:65532");
        assert_eq!(
            container["linuxParameters"]["capabilities"]["drop"][0],
            "ALL"
        );
        assert_eq!(
            container["healthCheck"]["command"],
            serde_json::json!(["CMD", "/evictd", "health"])
        );
        // Fargate allows no more than this, and evictd needs less.
        assert_eq!(container["stopTimeout"], 120);
        assert_eq!(
            container["mountPoints"][0]["containerPath"],
            "/var/lib/evictd"
        );
        // Whoever may describe a task can read its environment, so no password is there.
        for variable in container["environment"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            assert!(!name.contains("PASSWORD"), "{file}: {name}");
        }
    }
    let secrets = |file: &str| {
        let secrets = json(file)["containerDefinitions"][0]["secrets"].clone();
        let secrets = secrets.as_array().cloned().unwrap_or_default();
        let names = secrets
            .iter()
            .map(|secret| secret["name"].as_str().unwrap().to_owned());
        names.collect::<BTreeSet<_>>()
    };
    // The secrets are those that ecs/evictd.toml refers to, and a drain has none.
    let config = fs::read_to_string(repository().join("ecs/evictd.toml")).unwrap();
    let tail = secrets(DEFINITIONS[0]);
    assert_eq!(tail.len(), config.matches("env = ").count());
    for name in tail {
        assert!(config.contains(&format!("env = \"{name}\"")), "{name}");
    }
    assert!(secrets(DEFINITIONS[1]).is_empty());
}
