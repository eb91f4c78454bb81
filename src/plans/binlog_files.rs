//! Plans from binlog files, without a server.

use std::path::PathBuf;
use std::sync::Arc;

use super::record::{At, Record};
use crate::binlog::file::{BinlogFiles, FileError, FileItem, Notice};
use crate::evict::plan_item::{RuleInterest, Widened, plan_item};
use crate::rules::{RenderBuffers, Rules};

/// Binlog files, and the rules to plan their changes with.
pub struct FilePlans {
    files: BinlogFiles<RuleInterest>,
    rules: Arc<Rules>,
    scratch: RenderBuffers,
}

/// The outcome of one step.
#[derive(Debug)]
pub enum FileStep {
    /// An item is planned; with what could not be planned row by row.
    Planned(Option<Widened>),
    /// A fact about the files that the plan cannot show.
    Notice(Notice),
}

impl FilePlans {
    /// Prepares to read the files at `paths`, in this order.
    pub fn new(rules: Arc<Rules>, paths: Vec<PathBuf>) -> Self {
        Self {
            files: BinlogFiles::new(RuleInterest(Arc::clone(&rules)), paths),
            rules,
            scratch: RenderBuffers::default(),
        }
    }

    /// Plans the next item into `record`. `None` after the last file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is not a binlog.
    pub fn step(&mut self, record: &mut impl Record) -> Result<Option<FileStep>, FileError> {
        let item = match self.files.next_item()? {
            None => return Ok(None),
            Some(FileItem::Notice(notice)) => return Ok(Some(FileStep::Notice(notice))),
            Some(FileItem::Item(item)) => item,
        };
        let (file, offset) = self.files.reading();
        record.place(&At {
            file,
            offset,
            gtid: self.files.gtid(),
            committed_at: self.files.committed_at(),
        });
        let widened = plan_item(
            &self.rules,
            item,
            &mut self.scratch,
            record,
            |change, record| record.begin(change),
        );
        if !self.files.in_transaction() {
            record.end();
        }
        Ok(Some(FileStep::Planned(widened)))
    }

    /// The number of events read so far, which tells any two steps apart.
    pub fn events(&self) -> u64 {
        self.files.events()
    }

    /// The file and offset that are being read.
    pub fn reading_at(&self) -> String {
        let (file, offset) = self.files.reading();
        format!("{file}:{offset}")
    }
}
