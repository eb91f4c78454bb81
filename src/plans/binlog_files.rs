//! Plans from binlog files, without any server.

use std::path::PathBuf;
use std::sync::Arc;

use super::record::{At, Record};
use crate::binlog::file::{BinlogFiles, FileError, FileItem, Notice};
use crate::evict::plan_item::{RuleInterest, Widened, plan_item};
use crate::rules::{RenderBuffers, Rules};

/// Binlog files and the rules to plan them with.
pub struct FilePlans {
    files: BinlogFiles<RuleInterest>,
    rules: Arc<Rules>,
    scratch: RenderBuffers,
}

/// What one step led to.
#[derive(Debug)]
pub enum FileStep {
    /// One item is planned; what could not be planned row by row is named.
    Planned(Option<Widened>),
    /// Something about the files that the plan cannot show.
    Notice(Notice),
}

impl FilePlans {
    /// Prepares reading `paths` in this order.
    pub fn new(rules: Arc<Rules>, paths: Vec<PathBuf>) -> Self {
        Self {
            files: BinlogFiles::new(RuleInterest(Arc::clone(&rules)), paths),
            rules,
            scratch: RenderBuffers::default(),
        }
    }

    /// Plans the next item into `record`; `None` behind the last file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is no binlog.
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
            committed_at_us: self.files.committed_at_us(),
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

    /// How many events were read: tells any two steps apart.
    pub fn events(&self) -> u64 {
        self.files.events()
    }

    /// Where reading stands.
    pub fn reading_at(&self) -> String {
        let (file, offset) = self.files.reading();
        format!("{file}:{offset}")
    }
}
