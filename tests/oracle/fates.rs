//! What happens to evictd and to what it works with, and in which order.

use super::draw::Draw;
use super::rules::Rule;
use super::schema::Table;
use super::steps::{Change, Held, Statement, Step, Steps, Theme};
use super::topology::{Queue, Topology};

/// What becomes of evictd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// In order. Another one that stands by leads then.
    Stop,
    /// The same.
    Kill,
    Start,
    /// Another one stands by.
    StandBy,
    Freeze,
    Thaw,
    /// Its binlog stream brings nothing more.
    Hold,
    Release,
    /// Until its position is at the place where the stream was held.
    Catch,
    /// Until its position is at the server's end, if it gets there.
    Store,
    /// It gets another configuration, at its start or while it runs.
    Reload(Reload),
}

/// What is different in a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// Rules have other names and another order.
    Rules,
    /// Where rules send their paths.
    Targets,
    /// The id of a distribution.
    Id,
}

/// What becomes of CloudFront, until it is something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeFate {
    Well,
    /// No connection lasts.
    Away,
    /// Nothing is invalidated, and this is the answer.
    Answers(u16, &'static str),
    Throttled,
    /// No distribution takes any more.
    Full,
    /// The second distribution does not.
    FullAtOne,
    /// What is made is listed later, by a clock that is behind.
    Late,
    /// It does what it is asked to, and does not answer.
    Deaf,
    /// Every other time.
    LosesSome,
    /// It does what it is asked to, and answers once it is well again.
    Holds,
    /// A page's path is invalid, the first one from here on.
    Refuses(usize),
}

/// What becomes of SQS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueFate {
    Well,
    Away,
    Fails,
    Deaf,
    /// Another configuration sends to the queue, too.
    Foreign,
}

/// What becomes of evictd's files while it does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilesFate {
    /// They are copied.
    Keep,
    /// They are what was copied, if anything was.
    SetBack(Files),
    /// Not the checkpoint: without it evictd begins at the server's end.
    Lose(Files),
    /// A byte of a page of the buffer is another one.
    DamageQueue,
    /// A page with paths is zero.
    ZeroQueue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    Queue,
    /// With what was invalidated lately.
    QueueAndRecord,
    Checkpoint,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisFate {
    /// It writes a snapshot.
    Save,
    /// It dies and starts with its last snapshot, if there is one.
    GoesBack,
    /// It dies and starts empty.
    Lost,
    /// Gets a replica.
    Replica,
    /// The replica gets nothing more.
    CutOff,
    /// It dies, and the replica takes over.
    FailOver,
    /// It takes nothing that needs memory.
    Full,
    Well,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MysqlFate {
    Restart,
    /// It restarts, and leaves the case's database out of its binlog.
    LeaveOut,
    Freeze,
    /// `RESET BINARY LOGS AND GTIDS`.
    Reset,
    /// GTIDs are switched on or off, step by step.
    Gtids(bool),
    /// A setting of the server and of the writers' session.
    Set(&'static str),
    /// Stops, copies its data and starts.
    Keep,
    /// Dies, and starts with the copy.
    PutBack,
    /// Gets a replica.
    Replica,
    /// The replica gets nothing more.
    CutOff,
    /// Dies, and the replica takes over.
    FailOver,
    /// The same, and lives on, where nobody writes to it.
    SwitchOver,
}

/// Settings that are switched.
const SETTINGS: [&str; 8] = [
    "binlog_row_image = MINIMAL",
    "binlog_row_image = FULL",
    "binlog_row_metadata = MINIMAL",
    "binlog_row_metadata = FULL",
    "binlog_transaction_compression = ON",
    "binlog_checksum = NONE",
    "binlog_checksum = CRC32",
    "binlog_row_value_options = 'PARTIAL_JSON'",
];

const TROUBLES: [(usize, EdgeFate); 14] = [
    (2, EdgeFate::Away),
    (1, EdgeFate::Answers(503, "ServiceUnavailable")),
    (1, EdgeFate::Answers(408, "RequestTimeout")),
    (2, EdgeFate::Answers(400, "RequestAborted")),
    (1, EdgeFate::Answers(429, "TooManyRequests")),
    (1, EdgeFate::Answers(418, "Unheard")),
    (1, EdgeFate::Throttled),
    (2, EdgeFate::Full),
    (1, EdgeFate::Late),
    (1, EdgeFate::Deaf),
    (2, EdgeFate::LosesSome),
    (1, EdgeFate::Holds),
    (4, EdgeFate::Refuses(1)),
    (4, EdgeFate::Refuses(4)),
];

/// What a case has.
#[derive(Clone, Copy, Debug)]
pub struct Has<'c> {
    pub gtid: bool,
    pub edge: bool,
    pub topology: &'c Topology,
    pub rules: &'c [Rule],
}

impl Has<'_> {
    /// Whether paths wait in SQS. What a killed evictd had received from it comes back half a minute later.
    pub fn sqs(&self) -> bool {
        self.edge && self.topology.queue == Queue::Sqs
    }

    /// How evictd ends, if not for long.
    pub fn end(&self, draw: &mut Draw) -> Fate {
        if !self.sqs() && draw.percent(50) {
            Fate::Kill
        } else {
            Fate::Stop
        }
    }
}

/// Draws a round in which something breaks besides evictd.
pub struct Breakage<'d, 'c> {
    draw: &'d mut Draw,
    steps: &'d mut Steps<'c>,
    theme: Theme,
    has: Has<'c>,
}

#[derive(Clone, Copy)]
enum Kind {
    Edge,
    EdgeAndEvictd,
    Starves,
    Reload,
    Buffer,
    Queue,
    Takeover,
    Files,
    RedisBack,
    RedisFull,
    Settings,
    Gtids,
    Reset,
    Freeze,
    Restart,
    LeaveOut,
    PutBack,
    FailOver,
    Held,
}

impl<'d, 'c> Breakage<'d, 'c> {
    pub fn new(draw: &'d mut Draw, steps: &'d mut Steps<'c>, theme: Theme) -> Self {
        let has = steps.has;
        Self {
            draw,
            steps,
            theme,
            has,
        }
    }

    /// The quiet point comes after it.
    pub fn draw(mut self) {
        let has = self.has;
        let local = has.topology.queue == Queue::Local;
        let when = |is: bool, weight: usize| if is { weight } else { 0 };
        // Dear ones are seldom: a restart of MySQL takes two seconds, and the last three take six and more.
        let kind = self.draw.weighted(&[
            (when(has.edge, 30), Kind::Edge),
            (when(has.edge, 10), Kind::EdgeAndEvictd),
            (when(has.edge && has.topology.second, 4), Kind::Starves),
            (when(has.edge, 30), Kind::Reload),
            (when(has.edge && local, 40), Kind::Buffer),
            (when(has.edge && !local, 60), Kind::Queue),
            (10, Kind::Takeover),
            (8, Kind::Files),
            (10, Kind::RedisBack),
            (10, Kind::RedisFull),
            (12, Kind::Settings),
            (when(has.gtid, 10), Kind::Gtids),
            (12, Kind::Reset),
            (6, Kind::Freeze),
            (2, Kind::Restart),
            (3, Kind::LeaveOut),
            (4, Kind::PutBack),
            (when(has.gtid, 5), Kind::FailOver),
            (when(has.gtid, 8), Kind::Held),
        ]);
        match kind {
            Kind::Edge => self.trouble(),
            Kind::EdgeAndEvictd => self.trouble_and_away(),
            Kind::Starves => self.starves(),
            Kind::Reload => self.reload(),
            Kind::Buffer => self.buffer(),
            Kind::Queue => self.queue(),
            Kind::Takeover => self.takeover(),
            Kind::Files => self.files(),
            Kind::RedisBack => self.redis_back(),
            Kind::RedisFull => self.redis_full(),
            Kind::Settings => self.settings(),
            Kind::Gtids => self.gtids(),
            Kind::Reset => self.reset(),
            Kind::Freeze => self.mysql(MysqlFate::Freeze),
            Kind::Restart => self.mysql(MysqlFate::Restart),
            Kind::LeaveOut => self.leave_out(),
            Kind::PutBack => self.put_back(),
            Kind::FailOver => self.fail_over(),
            Kind::Held => self.held(),
        }
    }

    fn evictd(&mut self, fate: Fate) {
        self.steps.push(Step::Evictd(fate));
    }

    fn edge(&mut self, fate: EdgeFate) {
        self.steps.push(Step::Edge(fate));
    }

    /// Up to so many statements.
    fn changes(&mut self, most: usize) {
        for _ in 0..self.draw.below(most + 1) {
            let change = self.steps.whole_change(self.draw, self.theme);
            self.steps.push_change(self.draw, change);
        }
    }

    /// Statements that change rows and nothing else, so that paths are sent.
    fn rows(&mut self, most: usize) {
        for _ in 0..1 + self.draw.below(most) {
            let rows = self.steps.plain(self.draw);
            self.steps.push(Step::Change(rows));
        }
    }

    /// Statements about all rows of tables that pages are built from: several paths share a request, and the same ones
    /// come again.
    fn pages(&mut self, most: usize) {
        for _ in 0..1 + self.draw.below(most) {
            let has_pages = |table: &&Table| {
                let mut rules = self.has.rules.iter();
                rules.any(|rule| rule.is_about(&table.name) && rule.has_paths())
            };
            let tables = &self.steps.schema.tables;
            let tables: Vec<&Table> = tables.iter().filter(has_pages).collect();
            if tables.is_empty() || self.draw.percent(25) {
                self.rows(1);
                continue;
            }
            let table = *self.draw.pick(&tables);
            let mut set = Vec::new();
            let columns = table.set_columns();
            if !columns.is_empty() {
                for column in self.draw.some(&columns, 2) {
                    set.push((column.name.clone(), column.value(self.draw)));
                }
            }
            if table.version {
                set.push(("ver".to_owned(), "ver + 1".to_owned()));
            }
            let statement = Statement::Update {
                table: table.name.clone(),
                set,
                tail: String::new(),
            };
            let all: Vec<&str> = self
                .steps
                .schema
                .tables
                .iter()
                .map(|table| table.name.as_str())
                .collect();
            let change = Change::new("update of all rows", vec![statement]).allowing(&all);
            self.steps.push(Step::Change(change));
        }
    }

    /// The same half of the time. Otherwise what waits is not made up for by what comes after it.
    fn more_pages(&mut self, most: usize) {
        if self.draw.percent(50) {
            self.pages(most);
        }
    }

    fn sometimes(&mut self, percent: usize, step: Step) {
        if self.draw.percent(percent) {
            self.steps.push(step);
        }
    }

    fn trouble(&mut self) {
        self.changes(1);
        let trouble = self.draw.weighted(&TROUBLES);
        self.edge(trouble);
        self.pages(2);
        self.sometimes(50, Step::Evictd(Fate::Store));
        self.sometimes(30, Step::Edge(EdgeFate::Well));
        self.more_pages(2);
    }

    /// evictd goes while CloudFront is in trouble.
    fn trouble_and_away(&mut self) {
        let trouble = self.draw.weighted(&TROUBLES);
        self.edge(trouble);
        self.pages(3);
        self.sometimes(50, Step::Evictd(Fate::Store));
        let end = self.has.end(self.draw);
        self.evictd(end);
        self.changes(2);
        self.sometimes(50, Step::Edge(EdgeFate::Well));
        self.evictd(Fate::Start);
        self.more_pages(2);
    }

    /// One distribution takes nothing, and the other one has to hear of everything meanwhile.
    fn starves(&mut self) {
        self.edge(EdgeFate::FullAtOne);
        self.pages(2);
        self.sometimes(50, Step::Flood);
        self.steps.push(Step::Progress);
    }

    fn reload(&mut self) {
        self.changes(1);
        let waits = self.draw.percent(70);
        if waits {
            let troubles = [
                EdgeFate::Holds,
                EdgeFate::Full,
                EdgeFate::Answers(503, "ServiceUnavailable"),
                EdgeFate::LosesSome,
            ];
            let trouble = *self.draw.pick(&troubles);
            self.edge(trouble);
        }
        self.pages(3);
        self.sometimes(40, Step::Evictd(Fate::Store));
        let offline = self.draw.percent(20);
        if offline {
            self.evictd(Fate::Stop);
            self.changes(1);
        }
        let reload =
            self.draw
                .weighted(&[(2, Reload::Id), (2, Reload::Targets), (1, Reload::Rules)]);
        self.evictd(Fate::Reload(reload));
        if waits && self.draw.percent(50) {
            self.edge(EdgeFate::Well);
        }
        self.more_pages(2);
        if self.draw.percent(20) {
            let reload = *self.draw.pick(&[Reload::Id, Reload::Targets]);
            self.evictd(Fate::Reload(reload));
            self.pages(2);
        }
    }

    /// The buffer's file becomes another one, with messages in it.
    fn buffer(&mut self) {
        if self.draw.percent(70) {
            self.pages(2);
            self.sometimes(50, Step::Evictd(Fate::Store));
            self.evictd(Fate::Stop);
            self.steps.push(Step::Files(FilesFate::Keep));
            self.evictd(Fate::Start);
        }
        let fate = self.draw.weighted(&[
            (4, FilesFate::SetBack(Files::Queue)),
            (2, FilesFate::SetBack(Files::QueueAndRecord)),
            (1, FilesFate::Lose(Files::Queue)),
            (1, FilesFate::Lose(Files::QueueAndRecord)),
            (3, FilesFate::DamageQueue),
            (1, FilesFate::ZeroQueue),
        ]);
        // What was invalidated is on record, and what comes after it is new.
        let outlived_by_its_record = fate == FilesFate::SetBack(Files::Queue);
        if self
            .draw
            .percent(if outlived_by_its_record { 30 } else { 65 })
        {
            let troubles = [EdgeFate::Answers(503, "ServiceUnavailable"), EdgeFate::Full];
            let trouble = *self.draw.pick(&troubles);
            self.edge(trouble);
        }
        self.pages(3);
        self.sometimes(80, Step::Evictd(Fate::Store));
        let end = *self.draw.pick(&[Fate::Kill, Fate::Stop]);
        self.evictd(end);
        self.steps.push(Step::Files(fate));
        self.sometimes(80, Step::Edge(EdgeFate::Well));
        self.evictd(Fate::Start);
        if outlived_by_its_record {
            self.pages(3);
        } else {
            self.more_pages(2);
        }
    }

    fn queue(&mut self) {
        self.changes(1);
        let fate = *self
            .draw
            .pick(&[QueueFate::Away, QueueFate::Fails, QueueFate::Deaf]);
        let breaks = self.draw.percent(60);
        if breaks {
            self.steps.push(Step::Queue(fate));
        }
        self.sometimes(30, Step::Queue(QueueFate::Foreign));
        self.pages(3);
        if breaks {
            self.sometimes(60, Step::Queue(QueueFate::Well));
        }
        self.pages(3);
        self.sometimes(30, Step::Evictd(Fate::Store));
        // The same paths again.
        self.pages(3);
    }

    fn takeover(&mut self) {
        self.evictd(Fate::StandBy);
        self.changes(2);
        if self.draw.percent(30) {
            let reload = *self.draw.pick(&[Reload::Rules, Reload::Targets]);
            self.evictd(Fate::Reload(reload));
        }
        let end = self.has.end(self.draw);
        self.evictd(end);
        self.changes(2);
        self.sometimes(30, Step::Evictd(Fate::StandBy));
        self.changes(1);
    }

    /// Everything that evictd keeps is as it was before.
    fn files(&mut self) {
        self.rows(2);
        self.evictd(Fate::Stop);
        self.steps.push(Step::Files(FilesFate::Keep));
        self.evictd(Fate::Start);
        self.changes(2);
        self.sometimes(70, Step::Evictd(Fate::Store));
        self.evictd(Fate::Stop);
        let files = *self.draw.pick(&[Files::All, Files::All, Files::Checkpoint]);
        self.steps.push(Step::Files(FilesFate::SetBack(files)));
        self.changes(2);
    }

    fn redis_back(&mut self) {
        let has_replica = self.draw.percent(40);
        if has_replica {
            self.steps.push(Step::Redis(RedisFate::Replica));
            self.changes(1);
            self.sometimes(60, Step::Redis(RedisFate::CutOff));
        } else {
            self.sometimes(70, Step::Redis(RedisFate::Save));
        }
        self.changes(2);
        self.sometimes(50, Step::Evictd(Fate::Store));
        let away = self.draw.percent(20);
        if away {
            self.evictd(Fate::Stop);
        }
        let fate = if has_replica {
            RedisFate::FailOver
        } else {
            *self
                .draw
                .pick(&[RedisFate::GoesBack, RedisFate::GoesBack, RedisFate::Lost])
        };
        self.steps.push(Step::Redis(fate));
        self.changes(2);
    }

    fn redis_full(&mut self) {
        self.changes(1);
        self.steps.push(Step::Redis(RedisFate::Full));
        self.rows(3);
        self.sometimes(70, Step::Progress);
        self.sometimes(50, Step::Redis(RedisFate::Well));
        self.changes(2);
    }

    fn settings(&mut self) {
        let behind = *self.draw.pick(&[
            Some((Fate::Freeze, Fate::Thaw)),
            Some((Fate::Stop, Fate::Start)),
            None,
        ]);
        self.changes(1);
        if let Some((leave, _)) = behind {
            self.evictd(leave);
        }
        for _ in 0..1 + self.draw.below(2) {
            let setting = *self.draw.pick(&SETTINGS);
            self.steps.push(Step::Mysql(MysqlFate::Set(setting)));
            self.changes(2);
        }
        if let Some((_, back)) = behind {
            self.evictd(back);
        }
    }

    fn gtids(&mut self) {
        let away = self.draw.percent(50);
        self.changes(1);
        if away {
            self.leave();
        }
        self.steps.push(Step::Mysql(MysqlFate::Gtids(false)));
        self.changes(3);
        if self.draw.percent(60) {
            self.steps.push(Step::Mysql(MysqlFate::Gtids(true)));
            self.changes(2);
        }
        self.late_rows();
    }

    /// evictd is not there for a while.
    fn leave(&mut self) {
        let end = self.has.end(self.draw);
        let leave = *self.draw.pick(&[Fate::Freeze, end, end]);
        self.evictd(leave);
    }

    fn reset(&mut self) {
        let away = self.draw.percent(50);
        self.changes(2);
        if away {
            self.leave();
            self.changes(1);
        }
        self.steps.push(Step::Mysql(MysqlFate::Reset));
        self.changes(3);
        self.late_rows();
    }

    /// Nothing but rows from here on, and readers that are late: what widens would hide how they settle.
    fn late_rows(&mut self) {
        self.steps.push(Step::Quiet);
        for _ in 0..1 + self.draw.below(2) {
            let mut change = self.steps.plain(self.draw);
            change.late = true;
            self.steps.push(Step::Change(change));
        }
    }

    fn mysql(&mut self, fate: MysqlFate) {
        self.changes(2);
        self.steps.push(Step::Mysql(fate));
        self.changes(2);
    }

    fn leave_out(&mut self) {
        self.changes(1);
        self.steps.push(Step::Mysql(MysqlFate::LeaveOut));
        self.rows(3);
        self.steps.push(Step::Mysql(MysqlFate::Restart));
        self.changes(1);
    }

    fn put_back(&mut self) {
        self.steps.push(Step::Mysql(MysqlFate::Keep));
        self.changes(3);
        let away = self.draw.percent(50);
        if away {
            self.evictd(Fate::Store);
            self.evictd(Fate::Stop);
        }
        self.steps.push(Step::Mysql(MysqlFate::PutBack));
        self.rows(4);
        self.changes(2);
    }

    fn fail_over(&mut self) {
        self.steps.push(Step::Mysql(MysqlFate::Replica));
        self.changes(2);
        let held = self.draw.percent(40);
        if held {
            self.evictd(Fate::Hold);
        } else {
            self.sometimes(60, Step::Mysql(MysqlFate::CutOff));
        }
        self.changes(2);
        if !held {
            self.sometimes(40, Step::Evictd(Fate::Store));
        }
        let lives_on = self.draw.percent(30);
        self.steps.push(Step::Mysql(if lives_on {
            MysqlFate::SwitchOver
        } else {
            MysqlFate::FailOver
        }));
        self.changes(3);
    }

    /// Rows are read by evictd, and not by anybody else yet.
    fn held(&mut self) {
        self.changes(2);
        for _ in 0..1 + self.draw.below(2) {
            let mut change = self.steps.plain(self.draw);
            let held = [(3, Held::Briefly), (1, Held::ThroughAFreeze)];
            change.held = Some(self.draw.weighted(&held));
            change.late = self.draw.percent(50);
            self.steps.push(Step::Change(change));
        }
        self.changes(1);
    }
}
