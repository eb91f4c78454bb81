//! Binlog files one after the other, as items in commit order.

use std::path::PathBuf;

use super::error::FileError;
use super::notice::Notice;
use super::open_file::{OpenFile, ReadStep, name_of};
use crate::binlog::events::event::Event;
use crate::binlog::reader::{Assembler, Interest, Item, Step};
use crate::model::gtid::Gtid;
use crate::model::position::{FIRST_EVENT_OFFSET, number_of};
use crate::model::{CommitTime, Position};

/// The next thing that the files say.
#[derive(Debug)]
pub enum FileItem<T> {
    /// Something to act on.
    Item(Item<T>),
    /// Something to report.
    Notice(Notice),
}

/// Binlog files in their order, as items in commit order.
pub struct BinlogFiles<I: Interest> {
    assembler: Assembler<I>,
    left: std::vec::IntoIter<PathBuf>,
    open: Option<OpenFile>,
    /// The end of the previous file.
    last: Option<Last>,
    /// Events read so far, those in compressed transactions too.
    events: u64,
}

struct Last {
    name: String,
    /// The file that its ROTATE names.
    next: Option<String>,
    stopped: bool,
}

impl<I: Interest> BinlogFiles<I> {
    /// Prepares reading `paths` in this order; nothing is opened yet. Those that
    /// are in the order of their names as text, as a shell lists them, are read in
    /// the order of their numbers.
    pub fn new(interest: I, mut paths: Vec<PathBuf>) -> Self {
        let numbered = |path: &PathBuf| (path.with_extension(""), number_of(&name_of(path)));
        if paths.is_sorted() && paths.iter().all(|path| numbered(path).1.is_some()) {
            paths.sort_by_cached_key(numbered);
        }
        let position = Position {
            file: paths
                .first()
                .map(|path| name_of(path))
                .unwrap_or_default()
                .into(),
            offset: FIRST_EVENT_OFFSET,
            gtids: None,
        };
        Self {
            assembler: Assembler::new(interest, position),
            left: paths.into_iter(),
            open: None,
            last: None,
            events: 0,
        }
    }

    /// The file and offset where reading stands, within transactions too.
    pub fn reading(&self) -> (&str, u64) {
        self.assembler.reading()
    }

    /// The transaction being read, or the one just ended.
    pub fn gtid(&self) -> Option<&Gtid> {
        self.assembler.gtid()
    }

    /// When it was committed; `None` where no transaction was begun yet.
    pub fn committed_at(&self) -> Option<CommitTime> {
        self.assembler.committed_at()
    }

    /// Whether a transaction was begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.assembler.in_transaction()
    }

    /// The number of events read so far, which tells any two items apart.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The next item; `None` behind the last file.
    ///
    /// # Errors
    ///
    /// A file cannot be opened or read, or is not a binlog. A problem inside a
    /// file is a [`Notice`] instead, or an item that widens.
    pub fn next_item(&mut self) -> Result<Option<FileItem<I::Table>>, FileError> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(path) = self.left.next() else {
                    return Ok(None);
                };
                if let Some(gap) = self.begin(path)? {
                    return Ok(Some(FileItem::Notice(gap)));
                }
                continue;
            };
            let step = match open.next_event()? {
                ReadStep::Event(event) => {
                    self.events += 1;
                    self.feed(event)
                }
                ReadStep::Lost { event_type, reason } => {
                    self.assembler.feed_unreadable(event_type, reason)
                }
                ReadStep::End(cut) => {
                    if let Some(notice) = self.end(cut) {
                        return Ok(Some(FileItem::Notice(notice)));
                    }
                    continue;
                }
            };
            if let Step::Item(item) = step {
                return Ok(Some(FileItem::Item(item)));
            }
        }
    }

    /// There is no catalog to ask: a table whose column names are not in the
    /// binlog widens.
    fn feed(&mut self, event: Event) -> Step<I::Table> {
        match self.assembler.feed(event) {
            Step::NeedsCatalog(table, event) => {
                self.assembler.learn(table, None);
                self.assembler.feed(event)
            }
            step => step,
        }
    }

    fn begin(&mut self, path: PathBuf) -> Result<Option<Notice>, FileError> {
        let open = OpenFile::new(path)?;
        let gap = self.last.as_ref().and_then(|last| last.gap(&open.name));
        let name = open.name.clone();
        self.open = Some(open);
        match (&self.last, &gap) {
            (_, Some(_)) => self.assembler.restart(Position {
                file: name.into(),
                offset: FIRST_EVENT_OFFSET,
                gtids: None,
            }),
            (Some(_), None) => self.assembler.begin_file(&name),
            (None, None) => {}
        }
        Ok(gap)
    }

    fn end(&mut self, cut: Option<String>) -> Option<Notice> {
        let open = self.open.take()?;
        let unfinished = self.assembler.in_transaction();
        let file = open.name.clone();
        self.last = Some(Last {
            name: open.name,
            next: open.next,
            stopped: open.stopped,
        });
        match cut {
            Some(reason) => Some(Notice::Cut {
                file,
                offset: open.offset,
                reason,
            }),
            None => unfinished.then_some(Notice::Unfinished { file }),
        }
    }
}

impl Last {
    /// A notice if changes are missing between this file and `name`.
    fn gap(&self, name: &str) -> Option<Notice> {
        let following = || {
            let (stem, number) = self.name.rsplit_once('.')?;
            let next = number.parse::<u64>().ok()?.checked_add(1)?;
            Some(format!("{stem}.{next:0width$}", width = number.len()))
        };
        // A server that was shut down in order begins the next file when it starts.
        let expected = match &self.next {
            Some(next) => Some(next.clone()),
            None if self.stopped => following(),
            None => None,
        };
        if expected.as_deref() == Some(name) {
            return None;
        }
        Some(Notice::Gap {
            after: self.name.clone(),
            file: name.to_owned(),
            expected: expected.map_or_else(
                || ", which ends without naming the next file".to_owned(),
                |expected| format!(" ({expected} does)"),
            ),
        })
    }
}
