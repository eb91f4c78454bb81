//! Row images to values, of the columns that are wanted and no others.

use std::sync::Arc;

use crate::binlog::decode::column_type::Width;
use crate::binlog::decode::error::{DecodeError, ValueError};
use crate::binlog::decode::layout::TableLayout;
use crate::binlog::decode::rows::RowsEvent;
use crate::binlog::events::cursor::{Cursor, Prefix, bit_lsb};
use crate::model::{Op, RowChange, Value};

/// A table's layout compiled against the columns that its rules need.
#[derive(Clone, Debug)]
pub struct RowDecoder {
    layout: Arc<TableLayout>,
    /// For each column of the table whether its value is wanted.
    wanted: Vec<bool>,
    /// The way through an image that carries every column and has no NULL.
    strides: Vec<Stride>,
    projected: usize,
    json_columns: usize,
}

/// Columns that are passed over together, and the one behind them that is not.
#[derive(Clone, Copy, Debug)]
struct Stride {
    /// The bytes of columns of fixed width that nobody wants.
    skip: usize,
    stop: Stop,
}

/// The column at which a [`Stride`] ends.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// Its length stands before it, and nobody wants it.
    Skip(Prefix),
    /// Its value is wanted.
    Decode { index: usize, width: Width },
    /// The image ends.
    End,
}

impl RowDecoder {
    /// Compiles `layout` for `projection`: column indices, strictly ascending
    /// and within the table. The images hold exactly these columns, in this
    /// order.
    pub fn new(layout: Arc<TableLayout>, projection: &[usize]) -> Self {
        let mut wanted = vec![false; layout.columns.len()];
        for &index in projection {
            if let Some(flag) = wanted.get_mut(index) {
                *flag = true;
            }
        }
        let json_columns = layout
            .columns
            .iter()
            .filter(|column| column.is_json)
            .count();
        Self {
            strides: strides(&layout, &wanted),
            wanted,
            projected: projection.len(),
            json_columns,
            layout,
        }
    }

    /// The layout it was compiled from.
    pub fn layout(&self) -> &Arc<TableLayout> {
        &self.layout
    }

    /// The rows of an event that follows this layout's table map.
    ///
    /// # Errors
    ///
    /// The event has another number of columns than the layout.
    pub fn rows<'a>(&'a self, event: RowsEvent<'a>) -> Result<Rows<'a>, DecodeError> {
        let columns = self.layout.columns.len();
        if u64::try_from(columns).ok() != Some(event.column_count) {
            return Err(DecodeError::ColumnCount {
                layout: columns,
                event: event.column_count,
            });
        }
        let before = (event.op != Op::Insert)
            .then(|| Image::new(event.before_present, columns, self.projected));
        let after = (event.op != Op::Delete)
            .then(|| Image::new(event.after_present, columns, self.projected));
        let widest = [&before, &after]
            .into_iter()
            .flatten()
            .map(|image| image.carried)
            .max();
        Ok(Rows {
            decoder: self,
            op: event.op,
            partial_json: event.partial_json,
            cursor: Cursor::new(event.rows),
            before,
            after,
            imageless: widest == Some(0) && event.rows.is_empty(),
            undecodable: None,
        })
    }
}

/// One side of the row changes of an event: which columns it carries, and room
/// for the values of one row.
#[derive(Debug)]
struct Image<'a> {
    present: &'a [u8],
    /// Number of columns that it carries.
    carried: usize,
    /// Whether it carries them all, as with `binlog_row_image=FULL`.
    full: bool,
    values: Vec<Value<'a>>,
}

impl<'a> Image<'a> {
    fn new(present: &'a [u8], columns: usize, projected: usize) -> Self {
        let carried = (0..columns)
            .filter(|index| bit_lsb(present, *index))
            .count();
        Self {
            present,
            carried,
            full: carried == columns,
            values: Vec::with_capacity(projected),
        }
    }
}

/// The row changes of one event, one at a time: the values of a row live until
/// the next is asked for, in room that all rows share.
#[derive(Debug)]
pub struct Rows<'a> {
    decoder: &'a RowDecoder,
    op: Op,
    partial_json: bool,
    cursor: Cursor<'a>,
    before: Option<Image<'a>>,
    after: Option<Image<'a>>,
    /// An event whose images carry no column has no bytes to show for its one
    /// row (`binlog_row_image=MINIMAL`, an INSERT of nothing but defaults).
    imageless: bool,
    /// The first problem that left a value unknown.
    undecodable: Option<DecodeError>,
}

impl<'a> Rows<'a> {
    /// Why a value of the rows so far is [`Value::Undecodable`], if one is.
    pub fn undecodable(&self) -> Option<&DecodeError> {
        self.undecodable.as_ref()
    }

    /// The next row change, or `None` after the last. Text that cannot be
    /// converted leaves its value unknown, and nothing else.
    ///
    /// # Errors
    ///
    /// After [`DecodeError::Value`] the rows that follow can still be read. After
    /// any other error nothing of the event can, and the next call returns
    /// `None`; the rows not seen are unknown.
    pub fn next_row(&mut self) -> Result<Option<RowChange<'_>>, DecodeError> {
        if self.cursor.is_empty() && !std::mem::take(&mut self.imageless) {
            return Ok(None);
        }
        let unread = self.cursor.rest().len();
        let damaged = match self.read_images() {
            Ok(damaged) => damaged,
            Err(error) => {
                self.cursor = Cursor::new(&[]);
                return Err(error);
            }
        };
        if unread > 0 && unread == self.cursor.rest().len() {
            self.cursor = Cursor::new(&[]);
            return Err(DecodeError::Malformed {
                reading: "the rows event",
                problem: "it has row images but no columns in them",
            });
        }
        match damaged {
            Some(error) if !error.is_of_a_value_alone() => return Err(error),
            Some(error) => {
                self.undecodable.get_or_insert(error);
            }
            None => {}
        }
        Ok(Some(RowChange {
            table: &self.decoder.layout.schema,
            op: self.op,
            before: self.before.as_ref().map(|image| image.values.as_slice()),
            after: self.after.as_ref().map(|image| image.values.as_slice()),
        }))
    }

    /// Reads both images to their end, even past a value that cannot be decoded,
    /// whose problem it returns: the next row begins where they end.
    fn read_images(&mut self) -> Result<Option<DecodeError>, DecodeError> {
        let mut damaged = None;
        if let Some(image) = &mut self.before {
            damaged = self.decoder.read_image(&mut self.cursor, image, None)?;
        }
        if let Some(image) = &mut self.after {
            let partial = if self.partial_json {
                self.decoder.partial_json(&mut self.cursor)?
            } else {
                None
            };
            let in_after = self.decoder.read_image(&mut self.cursor, image, partial)?;
            damaged = worst(damaged, in_after);
        }
        Ok(damaged)
    }
}

/// Merges what lies between the wanted columns as far as widths are fixed.
fn strides(layout: &TableLayout, wanted: &[bool]) -> Vec<Stride> {
    let mut strides = Vec::new();
    let mut skip = 0;
    for (index, (column, wanted)) in layout.columns.iter().zip(wanted).enumerate() {
        let stop = match (wanted, column.width) {
            (true, width) => Stop::Decode { index, width },
            (false, Width::Prefixed(prefix)) => Stop::Skip(prefix),
            (false, Width::Fixed(bytes)) => {
                skip += bytes;
                continue;
            }
        };
        strides.push(Stride {
            skip: std::mem::take(&mut skip),
            stop,
        });
    }
    if skip > 0 {
        strides.push(Stride {
            skip,
            stop: Stop::End,
        });
    }
    strides
}

impl RowDecoder {
    /// Reads an image that carries every column and has no NULL.
    fn read_plain_image<'a>(
        &'a self,
        cursor: &mut Cursor<'a>,
        values: &mut Vec<Value<'a>>,
    ) -> Result<Option<DecodeError>, DecodeError> {
        let cut = DecodeError::truncated("a row image");
        let mut damaged = None;
        // A copy that stays in registers.
        let mut at = *cursor;
        for stride in &self.strides {
            at.take(stride.skip).map_err(cut)?;
            match stride.stop {
                Stop::Skip(prefix) => {
                    at.prefixed(prefix).map_err(cut)?;
                }
                Stop::Decode { index, width } => {
                    let bytes = width.take(&mut at).map_err(cut)?;
                    let decoded = self
                        .layout
                        .columns
                        .get(index)
                        .map(|column| column.kind.decode(bytes));
                    values.push(match decoded {
                        Some(Ok(value)) => value,
                        Some(Err(problem)) => self.undecodable(index, problem, bytes, &mut damaged),
                        None => Value::Absent,
                    });
                }
                Stop::End => {}
            }
        }
        *cursor = at;
        Ok(damaged)
    }

    /// Reads one row image into `image.values`. The first damaged value is
    /// returned; its image is read to its end all the same.
    fn read_image<'a>(
        &'a self,
        cursor: &mut Cursor<'a>,
        image: &mut Image<'a>,
        partial_json: Option<&'a [u8]>,
    ) -> Result<Option<DecodeError>, DecodeError> {
        let cut = DecodeError::truncated("a row image");
        let nulls = cursor.take(image.carried.div_ceil(8)).map_err(cut)?;
        image.values.clear();
        if image.full && partial_json.is_none() && nulls.iter().all(|byte| *byte == 0) {
            return self.read_plain_image(cursor, &mut image.values);
        }
        let mut damaged = None;
        // The null bitmap counts carried columns, the partial one JSON columns.
        let mut carried = 0;
        let mut json = 0;
        for (index, (column, &wanted)) in self.layout.columns.iter().zip(&self.wanted).enumerate() {
            let is_partial = partial_json.is_some_and(|bits| {
                json += usize::from(column.is_json);
                column.is_json && bit_lsb(bits, json - 1)
            });
            let value = if !image.full && !bit_lsb(image.present, index) {
                Value::Absent
            } else {
                carried += 1;
                if bit_lsb(nulls, carried - 1) {
                    Value::Null
                } else {
                    let bytes = column.width.take(cursor).map_err(cut)?;
                    if !wanted {
                        continue;
                    }
                    if is_partial {
                        Value::Partial
                    } else {
                        match column.kind.decode(bytes) {
                            Ok(value) => value,
                            Err(problem) => self.undecodable(index, problem, bytes, &mut damaged),
                        }
                    }
                }
            };
            if wanted {
                image.values.push(value);
            }
        }
        Ok(damaged)
    }

    /// Which JSON columns of the after image hold a difference from the before
    /// image, which prints as nothing, and not a document
    /// (`binlog_row_value_options=PARTIAL_JSON`; MySQL source documentation,
    /// `Rows_event`, "partial_bits").
    fn partial_json<'a>(&self, cursor: &mut Cursor<'a>) -> Result<Option<&'a [u8]>, DecodeError> {
        const PARTIAL_JSON_UPDATES: u64 = 1;
        let cut = DecodeError::truncated("a row's value options");
        let options = cursor.lenenc().map_err(cut)?;
        if options & PARTIAL_JSON_UPDATES == 0 {
            return Ok(None);
        }
        cursor
            .take(self.json_columns.div_ceil(8))
            .map(Some)
            .map_err(cut)
    }

    /// The value of `bytes` that cannot be decoded, for a `problem` that joins what
    /// was `damaged` before.
    #[cold]
    fn undecodable<'a>(
        &self,
        index: usize,
        problem: ValueError,
        bytes: &'a [u8],
        damaged: &mut Option<DecodeError>,
    ) -> Value<'a> {
        let column = self.layout.schema.columns.get(index);
        let error = DecodeError::Value {
            column: column.map_or_else(|| "".into(), |column| Arc::clone(&column.name)),
            problem,
        };
        *damaged = worst(damaged.take(), Some(error));
        Value::Undecodable(bytes)
    }
}

/// The first of two problems, unless the second puts more than a value in doubt.
fn worst(first: Option<DecodeError>, second: Option<DecodeError>) -> Option<DecodeError> {
    match (first, second) {
        (Some(first), Some(second)) if first.is_of_a_value_alone() => {
            Some(if second.is_of_a_value_alone() {
                first
            } else {
                second
            })
        }
        (first, second) => first.or(second),
    }
}
