//! The session's settings: whatever the server's administrators chose for
//! their applications, evictd's questions get the answers that they are
//! written for.

/// The settings of every connection, whichever way it is made.
///
/// It is sent after the login: `init_connect` and
/// `character_set_client_handshake` have had their say by then. Everything that
/// a global setting could change in the answers is here: their characters, their
/// snapshot, their number of rows, and how long they may take. Times are in UTC,
/// which no clock change makes ambiguous. `max_execution_time` stands in a
/// comment because MariaDB does not know it, and is to be refused for what it is.
/// Row images have the columns of generated invisible primary keys, and without
/// their names in the binlog the catalog has to show them.
pub(in crate::binlog) const SETTINGS: &str = "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci, \
     autocommit = 1, sql_mode = '', time_zone = '+00:00', \
     transaction_isolation = 'READ-COMMITTED', lock_wait_timeout = 30, wait_timeout = 28800, \
     sql_select_limit = 18446744073709551615, sql_big_selects = 1, \
     group_concat_max_len = 1048576 /*!50708 , max_execution_time = 0 */ \
     /*!80030 , show_gipk_in_create_table_and_information_schema = 1 */";
