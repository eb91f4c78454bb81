//! A connection for questions, whose answers are read without a panic: what a
//! server sends is never taken for granted.

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, DriverError, Error, FromRowError, Params, Row, from_row_opt};

/// A connection for questions.
///
/// The methods are those of `mysql_async`, except that a row which is not what
/// was asked for is an error.
#[derive(Debug)]
pub struct Client {
    conn: Conn,
}

impl Client {
    pub(super) fn new(conn: Conn) -> Self {
        Self { conn }
    }

    /// Asks without parameters, for all rows.
    pub async fn query<T: FromRow, Q: AsRef<str>>(&mut self, question: Q) -> Result<Vec<T>, Error> {
        let rows: Vec<Row> = self.conn.query(question.as_ref()).await?;
        rows.into_iter().map(read).collect()
    }

    /// Asks without parameters, for the first row.
    pub async fn query_first<T: FromRow, Q: AsRef<str>>(
        &mut self,
        question: Q,
    ) -> Result<Option<T>, Error> {
        let row: Option<Row> = self.conn.query_first(question.as_ref()).await?;
        row.map(read).transpose()
    }

    /// Runs a statement whose result does not matter.
    pub async fn query_drop<Q: AsRef<str>>(&mut self, statement: Q) -> Result<(), Error> {
        self.conn.query_drop(statement.as_ref()).await
    }

    /// Asks with parameters, for all rows.
    pub async fn exec<T: FromRow, P: Into<Params>>(
        &mut self,
        question: &str,
        parameters: P,
    ) -> Result<Vec<T>, Error> {
        let rows: Vec<Row> = self.conn.exec(question, parameters.into()).await?;
        rows.into_iter().map(read).collect()
    }

    /// Asks with parameters, for the first row.
    pub async fn exec_first<T: FromRow, P: Into<Params>>(
        &mut self,
        question: &str,
        parameters: P,
    ) -> Result<Option<T>, Error> {
        let row: Option<Row> = self.conn.exec_first(question, parameters.into()).await?;
        row.map(read).transpose()
    }

    /// Ends the connection in an orderly way.
    pub async fn disconnect(self) -> Result<(), Error> {
        self.conn.disconnect().await
    }
}

/// A row as what was asked for.
fn read<T: FromRow>(row: Row) -> Result<T, Error> {
    from_row_opt(row).map_err(|FromRowError(row)| DriverError::FromRow { row }.into())
}

#[cfg(test)]
mod tests {
    use mysql_async::Value;
    use mysql_common::constants::ColumnType;
    use mysql_common::packets::Column;
    use mysql_common::row::new_row;

    use super::*;

    #[test]
    fn a_row_that_is_not_what_was_asked_for_is_an_error() {
        let row = |value| {
            let column = Column::new(ColumnType::MYSQL_TYPE_VAR_STRING);
            new_row(vec![value], vec![column].into())
        };
        let name = read::<(String,)>(row(Value::Bytes("größe".into())));
        assert_eq!(name.unwrap(), ("größe".to_owned(),));
        for other in [Value::Bytes(b"gr\xf6\xdfe".into()), Value::NULL] {
            let read = read::<(String,)>(row(other));
            assert!(matches!(
                read,
                Err(Error::Driver(DriverError::FromRow { .. }))
            ));
        }
    }
}
