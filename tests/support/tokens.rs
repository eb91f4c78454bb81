//! Tokens of AWS IAM, checked with the SDK for Python: another implementation than evictd's.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::servers;

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SESSION_TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLWVhc3QtMSJH+/=";
const REGION: &str = "eu-west-1";

/// The environment of a process that signs tokens.
pub fn token_env() -> Vec<(String, String)> {
    [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_SESSION_TOKEN", SESSION_TOKEN),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// What a server was told, and when.
#[derive(Clone, Debug)]
pub struct Presented {
    pub user: String,
    pub token: String,
    pub at: SystemTime,
}

impl Presented {
    pub fn now(user: &str, token: &str) -> Self {
        Self {
            user: user.to_owned(),
            token: token.to_owned(),
            at: SystemTime::now(),
        }
    }

    /// `X-Amz-Date`.
    pub fn date(&self) -> &str {
        self.parameters()
            .into_iter()
            .find_map(|pair| pair.strip_prefix("X-Amz-Date="))
            .unwrap_or_else(|| panic!("no date: {}", self.token))
    }

    fn parameters(&self) -> Vec<&str> {
        parameters(&self.token)
    }
}

/// Where it leads, and its parameters in some order.
fn parameters(token: &str) -> Vec<&str> {
    let (host, query) = token.split_once("/?").expect("a URL with a query");
    let mut all: Vec<&str> = query.split('&').collect();
    all.push(host);
    all.sort_unstable();
    all
}

/// Asserts that each of them was signed for this audience just before it was presented, by who has [`token_env`].
/// `audience` holds `service`, `host`, `user`, and `port` or `serverless`.
pub fn assert_tokens(presented: &[Presented], audience: &Value) {
    let tokens: Vec<Value> = presented
        .iter()
        .map(|presented| {
            let mut token = audience.clone();
            token["at"] = presented.date().into();
            token
        })
        .collect();
    let expected = signed(&json!({
        "access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "session_token": SESSION_TOKEN, "region": REGION,
        "tokens": tokens,
    }));
    assert_eq!(expected.len(), presented.len());
    for (presented, expected) in presented.iter().zip(&expected) {
        assert_eq!(presented.user, audience["user"], "{}", presented.token);
        assert_eq!(presented.parameters(), parameters(expected));
        let format = "%Y%m%dT%H%M%SZ";
        let date = jiff::civil::DateTime::strptime(format, presented.date()).unwrap();
        let signed_at = date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
        let signed_at = SystemTime::from(signed_at);
        let age = presented
            .at
            .duration_since(signed_at)
            .expect("not of later");
        assert!(age < Duration::from_secs(60), "{age:?} old");
    }
}

/// What the SDK for Python signs.
fn signed(asked: &Value) -> Vec<String> {
    let python = servers().ministack.with_file_name("python");
    let mut python = Command::new(python)
        .args(["-c", include_str!("expected_tokens.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    let mut stdin = python.stdin.take().expect("it is piped");
    stdin
        .write_all(asked.to_string().as_bytes())
        .expect("Python reads");
    drop(stdin);
    let output = python.wait_with_output().expect("Python ends");
    assert!(output.status.success(), "it says above why");
    serde_json::from_slice(&output.stdout).expect("a list of tokens")
}
