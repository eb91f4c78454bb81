//! CloudFront's quotas, progress and bill, which no emulator has: a server that the real SDK talks to.
//!
//! It keeps the caller reference's contract, has invalidations in progress for a while, refuses what would
//! exceed the quota, throttles, fails and loses answers as told, and counts what it would bill.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const HELD_POLL: Duration = Duration::from_millis(5);

/// How CloudFront behaves. Times are scaled, so that tests are fast.
#[derive(Clone, Debug)]
pub struct FakeSettings {
    pub singles_max: usize,
    pub wildcards_max: usize,
    pub batch_paths_max: usize,
    /// From the acceptance to the completion: this long, and up to `completes_spread` more.
    pub completes_after: Duration,
    pub completes_spread: Duration,
    /// Throttling: calls a second, and how many at once.
    pub calls_per_second: f64,
    pub burst: f64,
    /// Each n-th request to make an invalidation is accepted, and its answer lost.
    pub lose_answer: Option<u64>,
    /// Requests to make an invalidation are accepted and never answered.
    pub hang: bool,
    /// Connections are closed, and nothing happens.
    pub away: bool,
    /// Requests to make an invalidation are done, and answered once this is over.
    pub holds: bool,
    /// Each n-th call fails with a 500 before anything happens.
    pub fail: Option<u64>,
    /// So many lists and reads of invalidations fail with a 503; the short list of a start does not.
    pub failing_looks: u64,
    /// Paths that contain this are refused as invalid.
    pub refuse: Option<String>,
    /// Every request to make an invalidation is answered with this status and code, and nothing happens.
    pub error: Option<(u16, &'static str)>,
    /// The same with this status and body.
    pub answer: Option<(u16, String)>,
    /// What is asked for happens all the same.
    pub happens: bool,
    /// Distributions whose quota is full, and stays so.
    pub full: Vec<String>,
    /// How far its clock is behind: that of `Date`, and of what it lists.
    pub clock_behind: Duration,
    /// An invalidation cannot be read for so long after it was made.
    pub unreadable_for: Duration,
    /// An invalidation is not listed for so long after it was made.
    pub unlisted_for: Duration,
    /// The tenants there are, each with its distribution.
    pub tenants: Vec<(String, String)>,
    /// Distributions that are listed, and that nobody may read.
    pub unreadable: Vec<String>,
    /// The header that names cache tags, of every distribution. Without one tags do nothing, as CloudFront does.
    pub tag_header: Option<String>,
    /// A function sees viewers' requests, and `/` is this object.
    pub root_object: Option<String>,
    /// Signatures are refused for the time they name, by a clock that says this.
    pub date: Option<String>,
    /// How long each answer takes.
    pub slow: Duration,
    /// Items on a page of a list.
    pub page_items: usize,
}

impl Default for FakeSettings {
    fn default() -> Self {
        Self {
            singles_max: 3_000,
            wildcards_max: 15,
            batch_paths_max: 3_000,
            completes_after: Duration::from_millis(300),
            completes_spread: Duration::ZERO,
            calls_per_second: 1_000.0,
            burst: 1_000.0,
            lose_answer: None,
            hang: false,
            away: false,
            holds: false,
            fail: None,
            failing_looks: 0,
            refuse: None,
            error: None,
            answer: None,
            happens: false,
            full: Vec::new(),
            clock_behind: Duration::ZERO,
            unreadable_for: Duration::ZERO,
            unlisted_for: Duration::ZERO,
            tenants: Vec::new(),
            unreadable: Vec::new(),
            tag_header: None,
            root_object: None,
            date: None,
            slow: Duration::ZERO,
            page_items: 100,
        }
    }
}

/// An accepted invalidation.
#[derive(Clone, Debug)]
pub struct FakeInvalidation {
    pub id: String,
    pub distribution: String,
    pub tenant: Option<String>,
    pub caller_reference: String,
    pub paths: Vec<String>,
    pub at: Instant,
    created_at: Timestamp,
    completes_at: Instant,
}

impl FakeInvalidation {
    /// One that no server made.
    pub fn example(paths: Vec<String>, at: Instant) -> Self {
        Self {
            id: String::new(),
            distribution: "E1".to_owned(),
            tenant: None,
            caller_reference: String::new(),
            paths,
            at,
            created_at: Timestamp::now(),
            completes_at: at,
        }
    }
}

impl FakeInvalidation {
    fn is_of(&self, (distribution, tenant): &Scope) -> bool {
        self.distribution == *distribution && self.tenant == *tenant
    }
}

/// What happened so far.
#[derive(Clone, Debug, Default)]
pub struct FakeCounts {
    /// Calls of any kind.
    pub calls: u64,
    /// Requests to make an invalidation.
    pub creates: u64,
    /// Lists and reads of invalidations, but for the short lists of a start.
    pub looks: u64,
    /// Repeated requests that were answered with the invalidation of then.
    pub repeated: u64,
    /// Requests for tenants that there are not.
    pub unknown_tenants: u64,
    /// Requests refused because of one of their paths.
    pub refused: u64,
    /// Requests refused because they would have exceeded the quota.
    pub over_quota: u64,
    pub throttled: u64,
    pub lost_answers: u64,
    pub failed: u64,
    /// The most that was in progress at a distribution.
    pub peak_singles: usize,
    pub peak_wildcards: usize,
}

#[derive(Debug)]
struct State {
    settings: FakeSettings,
    made: Vec<FakeInvalidation>,
    by_reference: HashMap<(Scope, String), usize>,
    counts: FakeCounts,
    tokens: f64,
    refilled: Instant,
}

/// A distribution, or one of its tenants.
type Scope = (String, Option<String>);

/// The server. It ends with the test's runtime.
#[derive(Clone, Debug)]
pub struct FakeCloudFront {
    url: String,
    state: Arc<Mutex<State>>,
}

impl FakeCloudFront {
    pub async fn start(settings: FakeSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let fake = Self {
            url: format!("http://{address}"),
            state: Arc::new(Mutex::new(State {
                tokens: settings.burst,
                settings,
                made: Vec::new(),
                by_reference: HashMap::new(),
                counts: FakeCounts::default(),
                refilled: Instant::now(),
            })),
        };
        let server = fake.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        fake
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn port(&self) -> u16 {
        let port = self.url.rsplit(':').next().map(str::parse);
        port.expect("its URL has a port").expect("a number")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics in here")
    }

    pub fn counts(&self) -> FakeCounts {
        self.state().counts.clone()
    }

    /// Changes how it behaves from now on.
    pub fn change(&self, change: impl FnOnce(&mut FakeSettings)) {
        change(&mut self.state().settings);
    }

    /// Everything accepted, in order.
    pub fn made(&self) -> Vec<FakeInvalidation> {
        self.state().made.clone()
    }

    /// Invalidations that somebody else has in progress at a distribution, and that do not complete.
    pub fn others(&self, distribution: &str, count: usize) {
        let mut state = self.state();
        for n in 0..count {
            let mut made = FakeInvalidation::example(vec![format!("/others/{n}")], Instant::now());
            made.id = format!("I{:06}", state.made.len());
            made.distribution = distribution.to_owned();
            made.caller_reference = format!("somebody-{n}");
            made.completes_at = Instant::now() + Duration::from_secs(3_600);
            state.made.push(made);
        }
    }

    /// What the paths so far would cost: how many are billed.
    pub fn billed(&self) -> usize {
        self.state().made.iter().map(|made| made.paths.len()).sum()
    }

    /// What was accepted for a distribution and none of its tenants, sorted, each once.
    pub fn of_distribution(&self, id: &str) -> Vec<String> {
        self.of(|made| made.distribution == id && made.tenant.is_none())
    }

    /// What was accepted for a tenant, sorted, each once.
    pub fn of_tenant(&self, id: &str) -> Vec<String> {
        self.of(|made| made.tenant.as_deref() == Some(id))
    }

    fn of(&self, which: impl Fn(&FakeInvalidation) -> bool) -> Vec<String> {
        let state = self.state();
        let made = state.made.iter().filter(|made| which(made));
        let paths: BTreeSet<String> = made.flat_map(|made| made.paths.clone()).collect();
        paths.into_iter().collect()
    }

    /// How often each path was accepted.
    pub fn paths(&self) -> BTreeMap<String, usize> {
        let mut paths = BTreeMap::new();
        for path in self.state().made.iter().flat_map(|made| &made.paths) {
            *paths.entry(path.clone()).or_default() += 1;
        }
        paths
    }

    /// Which of `paths` no accepted invalidation matches, one by one.
    pub fn unmatched<'p>(&self, paths: &'p [String]) -> Vec<&'p str> {
        let sent = self.paths();
        let prefixes: BTreeSet<&str> = sent
            .keys()
            .filter_map(|path| path.strip_suffix('*'))
            .collect();
        let reached = |path: &str| {
            sent.contains_key(path)
                || (0..=path.len()).any(|end| path.get(..end).is_some_and(|p| prefixes.contains(p)))
        };
        let paths = paths.iter().map(String::as_str);
        paths.filter(|path| !reached(path)).collect()
    }

    async fn serve(self, mut stream: TcpStream) {
        stream.set_nodelay(true).ok();
        let mut buffered = Vec::new();
        while let Some(request) = read_request(&mut stream, &mut buffered).await {
            if self.state().settings.away {
                return;
            }
            let slow = self.state().settings.slow;
            tokio::time::sleep(slow).await;
            let Some((status, body)) = self.state().answer(&request) else {
                let hang = self.state().settings.hang;
                if hang {
                    std::future::pending::<()>().await;
                }
                return; // Accepted, and the connection closes.
            };
            while request.method == "POST" && self.state().settings.holds {
                tokio::time::sleep(HELD_POLL).await;
            }
            let date = {
                let settings = &self.state().settings;
                let now = Timestamp::now() - settings.clock_behind;
                let now = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
                settings.date.clone().unwrap_or(now)
            };
            let answer = format!(
                "HTTP/1.1 {status} Fake\r\ncontent-type: text/xml\r\ndate: {date}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            if stream.write_all(answer.as_bytes()).await.is_err() || request.is_last {
                return;
            }
        }
    }
}

impl State {
    /// A status and a body; `None`: the answer is lost.
    fn answer(&mut self, request: &Request) -> Option<(u16, String)> {
        self.counts.calls += 1;
        if self.settings.date.is_some() {
            return Some(error(403, "SignatureDoesNotMatch"));
        }
        let now = Instant::now();
        let gained =
            now.duration_since(self.refilled).as_secs_f64() * self.settings.calls_per_second;
        self.tokens = (self.tokens + gained).min(self.settings.burst);
        self.refilled = now;
        if self.tokens < 1.0 {
            self.counts.throttled += 1;
            return Some(error(400, "Throttling"));
        }
        self.tokens -= 1.0;
        if self
            .settings
            .fail
            .is_some_and(|nth| self.counts.calls.is_multiple_of(nth))
        {
            self.counts.failed += 1;
            return Some(error(500, "InternalError"));
        }
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        if request.method == "GET"
            && path.contains("/invalidation")
            && !query.contains("MaxItems=1&")
            && !query.ends_with("MaxItems=1")
        {
            self.counts.looks += 1;
            if self.settings.failing_looks > 0 {
                self.settings.failing_looks -= 1;
                self.counts.failed += 1;
                return Some(error(503, "ServiceUnavailable"));
            }
        }
        let parts: Vec<&str> = path.split('/').collect();
        match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["", _, "distribution", id, "config"]) => {
                let mut unreadable = self.settings.unreadable.iter();
                if unreadable.any(|known| known == id) {
                    return Some(error(404, "NoSuchDistribution"));
                }
                Some((200, self.config(id)))
            }
            (
                method,
                [
                    "",
                    _,
                    kind @ ("distribution" | "distribution-tenant"),
                    id,
                    "invalidation",
                    rest @ ..,
                ],
            ) => {
                let scope: Scope = match *kind {
                    "distribution" => ((*id).to_owned(), None),
                    _ => {
                        let mut tenants = self.settings.tenants.iter();
                        let Some((_, distribution)) = tenants.find(|(name, _)| name == id) else {
                            self.counts.unknown_tenants += 1;
                            return Some(error(404, "EntityNotFound"));
                        };
                        (distribution.clone(), Some((*id).to_owned()))
                    }
                };
                match (method, rest) {
                    ("POST", []) => self.create(&scope, &request.body),
                    ("GET", []) => Some((200, self.list(&scope, query))),
                    ("GET", [id]) => {
                        let mut made = self.made.iter();
                        let found = made.find(|made| made.id == *id && made.is_of(&scope));
                        let there = |made: &&FakeInvalidation| {
                            made.at.elapsed() >= self.settings.unreadable_for
                        };
                        Some(match found.filter(there) {
                            Some(made) => (200, self.described(made)),
                            None => error(404, "NoSuchInvalidation"),
                        })
                    }
                    _ => Some(error(404, "NotFound")),
                }
            }
            _ => Some(error(404, "NotFound")),
        }
    }

    /// As little of a distribution as the SDK reads.
    fn config(&self, id: &str) -> String {
        let header = self.settings.tag_header.as_ref().map(|name| {
            format!("<CacheTagConfig><HeaderName>{name}</HeaderName></CacheTagConfig>")
        });
        let root = self.settings.root_object.as_ref();
        let mut tenants = self.settings.tenants.iter();
        let mode = if tenants.any(|(_, distribution)| distribution == id) {
            "tenant-only"
        } else {
            "direct"
        };
        format!(
            "<DistributionConfig><ConnectionMode>{mode}</ConnectionMode><CallerReference>{id}</CallerReference><Origins><Quantity>0</Quantity><Items></Items>\
             </Origins><DefaultCacheBehavior><TargetOriginId>o</TargetOriginId>\
             <ViewerProtocolPolicy>allow-all</ViewerProtocolPolicy><MinTTL>0</MinTTL>{}</DefaultCacheBehavior>\
             <Comment></Comment>{}{}<Enabled>true</Enabled></DistributionConfig>",
            root.as_ref().map_or_else(String::new, |_| {
                "<FunctionAssociations><Quantity>1</Quantity><Items><FunctionAssociation><FunctionARN>arn</FunctionARN>\
                 <EventType>viewer-request</EventType></FunctionAssociation></Items></FunctionAssociations>"
                    .to_owned()
            }),
            root.map_or_else(String::new, |name| format!(
                "<DefaultRootObject>{name}</DefaultRootObject>"
            )),
            header.unwrap_or_default()
        )
    }

    fn create(&mut self, scope: &Scope, body: &str) -> Option<(u16, String)> {
        let (distribution, tenant) = scope;
        self.counts.creates += 1;
        let lose = self
            .settings
            .lose_answer
            .is_some_and(|nth| self.counts.creates.is_multiple_of(nth));
        if let Some((status, code)) = self.settings.error {
            self.counts.failed += 1;
            return Some(error(status, code));
        }
        if self.settings.answer.is_some() && !self.settings.happens {
            self.counts.failed += 1;
            return self.settings.answer.clone();
        }
        let paths: Vec<String> = elements(body, "Path").collect();
        let caller_reference = elements(body, "CallerReference").next().unwrap_or_default();
        let name = (scope.clone(), caller_reference.clone());
        if let Some(&known) = self.by_reference.get(&name) {
            if self.made[known].paths != paths {
                return Some(error(400, "InvalidationBatchAlreadyExists"));
            }
            self.counts.repeated += 1;
            let answer = (201, self.described(&self.made[known]));
            let answer = self.settings.answer.clone().unwrap_or(answer);
            return Some(answer).filter(|_| !self.settings.hang);
        }
        if paths.len() > self.settings.batch_paths_max {
            return Some(error(413, "BatchTooLarge"));
        }
        let refuse = self.settings.refuse.as_deref();
        let valid = |path: &String| {
            let formed = match path.strip_prefix('#') {
                Some(tag) => {
                    let allowed = |byte: u8| (33..=126).contains(&byte) && byte != b',';
                    (1..=256).contains(&tag.len()) && tag.bytes().all(allowed)
                }
                None => is_path(path),
            };
            formed && !refuse.is_some_and(|part| path.contains(part))
        };
        if paths.is_empty() || !paths.iter().all(valid) {
            self.counts.refused += 1;
            return Some(error(400, "InvalidArgument"));
        }
        let (mut singles, mut wildcards) = self.in_progress(distribution);
        for path in &paths {
            if is_wildcard(path) {
                wildcards += 1;
            } else {
                singles += 1;
            }
        }
        if singles > self.settings.singles_max
            || wildcards > self.settings.wildcards_max
            || self.settings.full.contains(distribution)
        {
            self.counts.over_quota += 1;
            return Some(error(400, "TooManyInvalidationsInProgress"));
        }
        self.counts.peak_singles = self.counts.peak_singles.max(singles);
        self.counts.peak_wildcards = self.counts.peak_wildcards.max(wildcards);
        self.by_reference.insert(name, self.made.len());
        let spread = self.settings.completes_spread.mul_f64(rand::random());
        let now = Instant::now();
        self.made.push(FakeInvalidation {
            id: format!("I{:06}", self.made.len()),
            distribution: distribution.clone(),
            tenant: tenant.clone(),
            caller_reference,
            paths,
            at: now,
            created_at: Timestamp::now(),
            completes_at: now + self.settings.completes_after + spread,
        });
        if lose || self.settings.hang {
            self.counts.lost_answers += 1;
            return None;
        }
        if self.settings.answer.is_some() {
            return self.settings.answer.clone();
        }
        self.made.last().map(|made| (201, self.described(made)))
    }

    fn in_progress(&self, distribution: &str) -> (usize, usize) {
        let now = Instant::now();
        let running = self.made.iter().rev();
        let running =
            running.filter(|made| made.distribution == distribution && made.completes_at > now);
        let paths = running.flat_map(|made| &made.paths);
        paths.fold((0, 0), |(singles, wildcards), path| {
            if is_wildcard(path) {
                (singles, wildcards + 1)
            } else {
                (singles + 1, wildcards)
            }
        })
    }

    fn status(&self, made: &FakeInvalidation) -> &'static str {
        if made.completes_at > Instant::now() {
            "InProgress"
        } else {
            "Completed"
        }
    }

    fn described(&self, made: &FakeInvalidation) -> String {
        let items: String = made
            .paths
            .iter()
            .map(|path| format!("<Path>{}</Path>", escape(path)))
            .collect();
        format!(
            "<Invalidation><Id>{}</Id><Status>{}</Status><CreateTime>{}</CreateTime><InvalidationBatch>\
             <Paths><Quantity>{}</Quantity><Items>{items}</Items></Paths>\
             <CallerReference>{}</CallerReference></InvalidationBatch></Invalidation>",
            made.id,
            self.status(made),
            seconds(made.created_at),
            made.paths.len(),
            escape(&made.caller_reference),
        )
    }

    /// The newest first; the marker is the last id of the page before.
    fn list(&self, scope: &Scope, query: &str) -> String {
        let parameter = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let asked = parameter("MaxItems")
            .and_then(|text| text.parse().ok())
            .unwrap_or(100);
        let items = self.settings.page_items.min(asked);
        let marker = parameter("Marker").unwrap_or_default();
        let listed = |made: &&FakeInvalidation| {
            made.is_of(scope) && made.at.elapsed() >= self.settings.unlisted_for
        };
        let made = self.made.iter().rev().filter(listed);
        let older: Vec<_> = made
            .filter(|made| marker.is_empty() || made.id.as_str() < marker)
            .collect();
        let page = &older[..items.min(older.len())];
        let truncated = older.len() > page.len();
        let next = page.last().filter(|_| truncated);
        let next = next.map_or(String::new(), |made| {
            format!("<NextMarker>{}</NextMarker>", made.id)
        });
        let summaries: String = page
            .iter()
            .map(|made| {
                let at = seconds(made.created_at - self.settings.clock_behind);
                let (id, status) = (&made.id, self.status(made));
                format!(
                    "<InvalidationSummary><Id>{id}</Id><CreateTime>{at}</CreateTime>\
                     <Status>{status}</Status></InvalidationSummary>"
                )
            })
            .collect();
        format!(
            "<InvalidationList><Marker>{marker}</Marker>{next}<MaxItems>{items}</MaxItems>\
             <IsTruncated>{truncated}</IsTruncated><Quantity>{}</Quantity><Items>{summaries}</Items>\
             </InvalidationList>",
            page.len()
        )
    }
}

/// Whether CloudFront takes it: a leading `/`, at most 4,000 characters, `*` only at the end, and everything encoded that
/// is not ASCII or that RFC 1738, section 2.2, calls unsafe (CloudFront developer guide, "Specify the files to
/// invalidate"). It refuses `~` although RFC 3986 does not.
fn is_path(path: &str) -> bool {
    let body = path.strip_suffix('*').unwrap_or(path);
    let escapes = |text: &str| {
        let digits = text.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    path.starts_with('/')
        && path.len() <= 4_000
        && body.bytes().all(|byte| byte.is_ascii_graphic())
        && !body.contains(|c| r##"*<>"#{}|\^~[]`"##.contains(c))
        && body.split('%').skip(1).all(escapes)
}

/// The `*` of a tag is a character like others.
fn is_wildcard(path: &str) -> bool {
    path.starts_with('/') && path.ends_with('*')
}

/// Whole seconds, which is less than CloudFront tells.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn error(status: u16, code: &str) -> (u16, String) {
    let body = format!(
        "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>the fake says so</Message></Error>\
         <RequestId>1</RequestId></ErrorResponse>"
    );
    (status, body)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// The texts of an element, wherever it stands.
fn elements<'x>(xml: &'x str, name: &str) -> impl Iterator<Item = String> + 'x {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let texts = xml
        .split(open.as_str())
        .skip(1)
        .map(str::to_owned)
        .collect::<Vec<_>>();
    texts.into_iter().filter_map(move |text| {
        let (text, _) = text.split_once(&close)?;
        let text = text
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"");
        Some(
            text.replace("&apos;", "'")
                .replace("&#39;", "'")
                .replace("&amp;", "&"),
        )
    })
}

#[derive(Debug)]
struct Request {
    method: String,
    target: String,
    body: String,
    /// The client wants the connection to be closed.
    is_last: bool,
}

async fn read_request(stream: &mut TcpStream, buffered: &mut Vec<u8>) -> Option<Request> {
    let head_end = loop {
        if let Some(at) = buffered.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffered).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffered[..head_end]).into_owned();
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| {
            value.trim().parse().expect("a number of bytes")
        });
    while buffered.len() < head_end + length {
        if stream.read_buf(buffered).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&buffered[head_end..head_end + length]).into_owned();
    buffered.drain(..head_end + length);
    let mut words = head.split(' ');
    Some(Request {
        method: words.next()?.to_owned(),
        target: words.next()?.to_owned(),
        body,
        is_last: head.contains("\r\nconnection: close\r\n"),
    })
}
