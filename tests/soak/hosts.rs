//! The many hosts of SQS, which an emulator is not: their clocks differ, and they deliver some messages again.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::traffic::count;

/// By how much the clocks of the hosts that stamp messages are off, in ms.
const CLOCKS_MS: [i64; 4] = [0, 500, -500, -2_500];

/// One in so many messages is delivered once more by a host that has not heard of its deletion.
const AGAIN: u32 = 4;

/// When that is, in ms. A drain holds a message for less.
const AGAIN_AFTER_MS: std::ops::Range<u64> = 0..8_000;

/// An answer of SQS has no more.
const MESSAGES_MAX: usize = 10;

/// What stands before the emulator.
#[derive(Debug)]
pub struct Hosts {
    state: Mutex<State>,
    again: AtomicU64,
}

#[derive(Debug)]
struct State {
    random: StdRng,
    later: VecDeque<(Instant, Value)>,
}

impl Hosts {
    pub fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new(State {
                random: StdRng::seed_from_u64(seed),
                later: VecDeque::new(),
            }),
            again: AtomicU64::new(0),
        }
    }

    /// How many messages were delivered again.
    pub fn again(&self) -> u64 {
        self.again.load(Ordering::Relaxed)
    }

    /// What the client gets in place of an HTTP answer.
    pub fn alter(&self, answer: Vec<u8>) -> Vec<u8> {
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
            return answer;
        };
        let (head, body) = answer.split_at(end + 4);
        let Ok(mut received) = serde_json::from_slice::<Value>(body) else {
            return answer;
        };
        let Some(messages) = received["Messages"].as_array_mut() else {
            return answer;
        };
        self.deliver(messages);
        let body = received.to_string();
        let head = String::from_utf8_lossy(head);
        let mut lines: Vec<String> = head.lines().map(str::to_owned).collect();
        for line in &mut lines {
            if line.to_ascii_lowercase().starts_with("content-length:") {
                *line = format!("content-length: {}", body.len());
            }
        }
        (lines.join("\r\n") + "\r\n" + &body).into_bytes()
    }

    fn deliver(&self, messages: &mut Vec<Value>) {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        for message in messages.iter_mut() {
            stamp(message);
            if state.random.random_ratio(1, AGAIN) {
                let after = Duration::from_millis(state.random.random_range(AGAIN_AFTER_MS));
                state.later.push_back((now + after, again(message)));
            }
        }
        let (due, later) = std::mem::take(&mut state.later)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        state.later = later;
        let mut due: VecDeque<(Instant, Value)> = due;
        while messages.len() < MESSAGES_MAX
            && let Some((_, message)) = due.pop_front()
        {
            messages.push(message);
            count(&self.again);
        }
        state.later.extend(due);
    }
}

/// The host that took a message in is told by its id.
fn stamp(message: &mut Value) {
    let id = message["MessageId"].as_str().unwrap_or_default();
    let host = id.bytes().map(usize::from).sum::<usize>() % CLOCKS_MS.len();
    let Some(stamp) = message["Attributes"].get_mut("SentTimestamp") else {
        return;
    };
    let at: i64 = stamp.as_str().unwrap().parse().unwrap();
    *stamp = (at + CLOCKS_MS[host]).to_string().into();
}

/// The message as it is received the next time.
fn again(message: &Value) -> Value {
    let mut message = message.clone();
    if let Some(received) = message["Attributes"].get_mut("ApproximateReceiveCount") {
        let times: u64 = received.as_str().unwrap().parse().unwrap();
        *received = (times + 1).to_string().into();
    }
    message
}

#[test]
fn a_message_has_its_hosts_stamp_and_comes_again() {
    let hosts = Hosts::new(7);
    let message =
        r#"{"MessageId":"@","Attributes":{"SentTimestamp":"5000","ApproximateReceiveCount":"1"}}"#;
    let body = format!(r#"{{"Messages":[{}]}}"#, [message; 5].join(","));
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut most = 0;
    while hosts.again() < 3 {
        let answer = hosts.alter(answer.clone().into_bytes());
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.ends_with(&format!("content-length: {}", body.len())),
            "{answer}"
        );
        let body: Value = serde_json::from_str(body).unwrap();
        let messages = body["Messages"].as_array().unwrap();
        let stamps = messages
            .iter()
            .map(|message| &message["Attributes"]["SentTimestamp"]);
        assert!(stamps.into_iter().all(|stamp| stamp == "5000"));
        most = most.max(messages.len());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(most > 5);
    let mut late = serde_json::json!({"MessageId": "A", "Attributes": {"SentTimestamp": "5000"}});
    stamp(&mut late);
    assert_eq!(late["Attributes"]["SentTimestamp"], "5500");
}
