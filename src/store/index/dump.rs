//! Every row of every table as text, to compare two indexes in tests.

use redb::{ReadTransaction, ReadableTable as _, TableDefinition, TableHandle as _};

use super::super::blocks::{BLOCKS, HELD, KEYWORDS};
use super::super::threads::THREADS;
use super::{
    BODIES, EXPUNGED, Index, LIVE, MAILBOXES, MESSAGES, META, NAMES, PARTS, QUEUE, SETTINGS,
};

impl Index {
    /// Every row of every table as text, to compare two indexes.
    pub(in super::super) fn dump(&self) -> Vec<String> {
        let (txn, mut out) = (self.read().unwrap(), Vec::new());
        dump_table(&txn, META, &mut out);
        dump_table(&txn, MAILBOXES, &mut out);
        dump_table(&txn, NAMES, &mut out);
        dump_table(&txn, MESSAGES, &mut out);
        dump_table(&txn, EXPUNGED, &mut out);
        dump_table(&txn, BODIES, &mut out);
        dump_table(&txn, PARTS, &mut out);
        dump_table(&txn, LIVE, &mut out);
        dump_table(&txn, QUEUE, &mut out);
        dump_table(&txn, SETTINGS, &mut out);
        dump_table(&txn, THREADS, &mut out);
        dump_table(&txn, BLOCKS, &mut out);
        dump_table(&txn, HELD, &mut out);
        dump_table(&txn, KEYWORDS, &mut out);
        out
    }
}

fn dump_table<K: redb::Key + 'static, V: redb::Value + 'static>(
    txn: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
    out: &mut Vec<String>,
) {
    for entry in txn.open_table(table).unwrap().iter().unwrap() {
        let (key, value) = entry.unwrap();
        out.push(format!("{} {:?} = {:?}", table.name(), key.value(), value.value()));
    }
}
