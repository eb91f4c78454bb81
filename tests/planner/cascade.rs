//! Foreign keys that change mapped rows without a row event.

use std::sync::Arc;

use evictd::binlog::reader::Interest;
use evictd::evict::plan_item::RuleInterest;
use evictd::model::invalidation::Widening;
use evictd::model::{Cascade, Column, Op, RowChange, Shape, TableName, TableSchema, Value};
use evictd::rules::RenderBuffers;

use super::{Lines, rules};

fn table(name: &str) -> TableName {
    TableName::new("shop", name)
}

fn cascade(parent: &str, child: &str) -> Cascade {
    Cascade {
        parent: table(parent),
        child: table(child),
        columns: vec!["id".into()],
        on_delete: true,
        on_update: true,
    }
}

/// What a change of `parent` from id `before` to id `after` leads to.
fn planned(parent: &str, before: u64, after: Option<u64>) -> Vec<String> {
    let mut rules = rules(
        r#"[[rule]]
           name = "orders"
           tables = ["shop.orders"]
           keys = ["order:{id}"]
           cascade_from = [{ table = "shop.users", keys = ["user:{id}:orders"] }]"#,
    );
    rules.set_cascades(&[
        cascade("tenants", "users"),
        cascade("users", "orders"),
        cascade("users", "users"),
        cascade("users", "logins"),
    ]);
    assert!(!rules.wants(&table("logins")), "no rule is about it");
    assert!(rules.wants(&table(parent)));
    let id = Column {
        name: "id".into(),
        shape: Shape::Integer,
    };
    let schema = TableSchema {
        name: table(parent),
        columns: vec![id],
        primary_key: vec![0],
    };
    let (before, after) = ([Value::UInt(before)], after.map(|id| [Value::UInt(id)]));
    let change = RowChange {
        table: &schema,
        op: if after.is_some() {
            Op::Update
        } else {
            Op::Delete
        },
        before: Some(&before),
        after: after.as_ref().map(|row| &row[..]),
    };
    let mut lines = Lines::default();
    let planner = rules.bind(&schema).unwrap();
    planner.plan(&change, &mut RenderBuffers::default(), &mut lines);
    lines.0
}

#[test]
fn a_parents_delete_deletes_what_its_row_renders() {
    assert_eq!(planned("users", 7, None), ["orders: delete user:7:orders"]);
}

#[test]
fn an_ancestor_without_keys_of_its_own_widens_the_child() {
    assert_eq!(
        planned("tenants", 1, None),
        ["orders: widened by cascade", "orders: delete all order:*"]
    );
}

#[test]
fn an_update_fires_only_when_a_referenced_column_changed() {
    assert_eq!(planned("users", 7, Some(7)), [""; 0]);
    assert_eq!(
        planned("users", 7, Some(8)),
        ["orders: delete user:7:orders"]
    );
}

/// What is wanted is bound, and what is read means something else once it is another column.
#[test]
fn tables_and_columns_matter_to_their_own_rules_and_to_those_that_a_cascade_from_them_reaches() {
    let mut rules = rules(
        r#"[[rule]]
           name = "orders"
           tables = ["shop.orders"]
           keys = ["order:{id}"]
           cascade_from = [{ table = "shop.users", keys = ["user:{login}:orders"] }]"#,
    );
    rules.set_cascades(&[cascade("users", "orders")]);
    let interest = RuleInterest(Arc::new(rules));
    for (name, wanted, columns) in [
        ("orders", true, &["id", "ID"][..]),
        ("users", true, &["login"]),
        ("logins", false, &[]),
    ] {
        assert_eq!(interest.wants(&table(name)), wanted, "{name}");
        for column in ["id", "ID", "login", "note"] {
            let reads = interest.reads(&table(name), column);
            assert_eq!(reads, columns.contains(&column), "{name}.{column}");
        }
    }
}

#[test]
fn a_database_that_is_dropped_widens_what_cascades_from_its_tables_reach() {
    let mut rules = rules(
        r#"[[rule]]
           name = "orders"
           tables = ["shop.orders"]
           keys = ["order:{id}"]"#,
    );
    let from_elsewhere = Cascade {
        parent: TableName::new("crm", "users"),
        ..cascade("users", "orders")
    };
    rules.set_cascades(&[from_elsewhere]);
    for (database, expected) in [
        (
            "crm",
            &["orders: widened by statement", "orders: delete all order:*"][..],
        ),
        ("logs", &[]),
    ] {
        assert_eq!(rules.wants_database(database), !expected.is_empty());
        let mut lines = Lines::default();
        rules.widen_database(database, Widening::Statement, &mut lines);
        assert_eq!(lines.0, expected, "{database}");
    }
}
